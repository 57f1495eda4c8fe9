#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of the inference's fuzzer: a conversation of each protocol.

    seeds.py DIR
"""

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
SEEDS = {
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


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(sys.argv[1], name), "wb") as file:
            file.write(data)


main()
