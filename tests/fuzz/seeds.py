#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of a fuzzer: conversations of each protocol, messages, recorded
traffic of real servers.

    seeds.py NAME DIR
"""

import glob
import os
import struct
import sys


def call(received, data, flags=0):
    return struct.pack("<BH", received | flags, len(data)) + data


def talk(request, response):
    return call(0, request) + call(1, response) + call(0, request) + call(1, response)


def kafka(key, version, number):
    body = struct.pack(">hhih", key, version, number, 7) + b"rdkafka" + bytes(8)
    return struct.pack(">i", len(body)) + body


QUERY = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01"
ANSWER = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x07example\x03org\0\0\x01\0\x01" \
         b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01"
CONVERSATIONS = {
    "http1": talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    "http2": call(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0") +
             talk(b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84", b"\0\0\x01\x01\x04\0\0\0\x01\x88"
                  b"\0\0\x05\0\x01\0\0\0\x01hello"),
    "dubbo": talk(b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x07\0\0\0\x052.0.2",
                  b"\xda\xbb\x02\x14\0\0\0\0\0\0\0\x07\0\0\0\x01N"),
    "mysql": call(1, b"\x4a\0\0\0\x0a8.0.21\0" + b"x" * 67) +
             talk(b"\x09\0\0\0\x03SELECT 1", b"\x07\0\0\x01\0\0\0\x02\0\0\0"),
    "mysql-split": talk(b"\x09\0\0\0\x03SELECT 1", b"\x01\0\0\x01\x01") + call(1, b"\x05\0\0\x02"),
    "mysql-compressed": talk(b"\x0d\0\0\0\0\0\0\x09\0\0\0\x03SELECT 1",
                             b"\x34\0\0\x01\xc8\0\0\x78\x9c" + b"z" * 50),
    "redis": talk(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$5\r\nhello\r\n"),
    "redis3": talk(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
    "kafka": talk(kafka(3, 4, 1), b"\0\0\0\x08\0\0\0\x01...."),
    "kafka-split": call(0, kafka(3, 4, 1)) + call(1, b"\0\0\0\x08") + call(1, b"\0\0\0\x01...."),
    "dns": call(0, QUERY, 4) + call(1, ANSWER),
    "dns-tcp": talk(struct.pack(">H", len(QUERY)) + QUERY, struct.pack(">H", len(ANSWER)) + ANSWER),
}


DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")
MAGIC, VERSION = 0x4D504245, 1
JOIN, GET_STATS, START, STOP, GET_OFFSETS = 2, 5, 7, 8, 10


def message(kind, body=b"", size=None):
    return struct.pack("<IHHII", MAGIC, VERSION, kind, size or 16 + len(body), 0) + body


def packet(data, flags=0):
    return struct.pack("<BH", flags, len(data)) + data


def control():
    """What agents and ebpfctl send, and what they must not."""
    join = message(JOIN, struct.pack("<II", 1, 0) + b"agent".ljust(16, b"\0"))
    return {
        "join": packet(join),
        "tools": b"".join(packet(message(kind)) for kind in (GET_STATS, GET_OFFSETS, START, STOP)),
        "join-twice": packet(join) + packet(join) + packet(message(GET_STATS)),
        "two": packet(join) + packet(join, 2) + packet(b"", 2),
        "descriptor": packet(join, 1),
        "version": packet(message(JOIN, struct.pack("<II", 9, 0) + bytes(16))),
        "short": packet(join[:20]) + packet(b"x" * 5),
    }


def client():
    """Each question, and each message as its answer, some of them changed."""
    seeds = {}
    for what in range(5):
        for kind in range(7):
            for changed, change in (("", b"\0"), ("-type", b"\1\6\0\1"), ("-text", b"\1\x18\0A")):
                seeds[f"{what}-{kind}{changed}"] = bytes([what, kind, 0, 0, 3]) + change
    return seeds


def ring():
    return {f"{how}-{part}": bytes([how, part]) + struct.pack("<IB", at, 1)
            for how in range(8) for part in range(4) for at in (0, 64, 128, 196, 4096)}


def trace_file():
    """The first records of real traffic."""
    seeds = {}
    for path in glob.glob(os.path.join(DATA, "*.ebpfrec")):
        with open(path, "rb") as file:
            seeds[os.path.basename(path)] = b"\x21" + file.read(3000)
    return seeds


def perf():
    """Events of real traffic as the kernel writes them; at the end of the buffer, too."""
    seeds = {}
    for name, content in trace_file().items():
        at, samples = 65, b""
        while at + 8 <= len(content):
            size = struct.unpack_from("<I", content, at)[0]
            event = content[at + 8:at + 8 + size] + b"...."
            sample = struct.pack("<I", len(event)) + event
            samples += struct.pack("<IHH", 9, 0, len(sample) + 8) + sample
            at += 8 + size
        for tail in (0, 4000):
            seeds[f"{name}-{tail}"] = struct.pack("<HH", tail, len(samples)) + samples
    return seeds


SEEDS = {"infer": lambda: CONVERSATIONS, "control": control, "client": client, "ring": ring,
         "trace_file": trace_file, "perf": perf}


def main():
    name, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for seed, data in SEEDS[name]().items():
        with open(os.path.join(folder, seed), "wb") as file:
            file.write(data)


main()
