# SPDX-License-Identifier: Apache-2.0
"""Reads packet captures of Ethernet (and loopback) links, and puts TCP streams together."""

import struct

from lib import Failure, check

MICROSECONDS, NANOSECONDS = 0xa1b2c3d4, 0xa1b23c4d
ETHERNET = 1
IPV4, IPV6 = 0x0800, 0x86dd
TCP = 6
FIN, SYN, RST = 1, 2, 4
WRAP = 1 << 32


class Stream:
    """One direction of a TCP connection: its bytes by their distance from the first one."""

    def __init__(self, first_seq):
        self.first_seq = first_seq
        self.bytes = bytearray()
        self.ended = False
        self._ahead = []

    def offset(self, seq, near=0):
        """Where the byte with this sequence number stands, next to offset `near`."""
        distance = (seq - self.first_seq - near + WRAP // 2) % WRAP - WRAP // 2
        return near + distance

    def add(self, seq, payload):
        at = self.offset(seq, len(self.bytes))
        if at > len(self.bytes):
            self._ahead.append((seq, payload))
            return
        known = len(self.bytes) - at
        check(self.bytes[at:at + len(payload)] == payload[:known],
              "a byte was sent again with another value")
        self.bytes += payload[known:]
        if self._ahead:
            waiting, self._ahead = self._ahead, []
            for again in waiting:
                self.add(*again)

    def whole(self):
        return self.ended and not self._ahead


def packets(path):
    """The link-layer bytes of every packet."""
    with open(path, "rb") as file:
        content = file.read()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", content)
    if magic not in (MICROSECONDS, NANOSECONDS) or link & 0xffff != ETHERNET:
        raise Failure(f"{path} is no capture of an Ethernet link")
    at, header = 24, struct.Struct("<IIII")
    while at + header.size <= len(content):
        _, _, captured, length = header.unpack_from(content, at)
        at += header.size
        check(captured == length, "a packet was captured in part")
        yield content[at:at + captured]
        at += captured


def tcp_segment(packet):
    """(source, target, seq, flags, payload) of a TCP packet, else None; an end is (ip, port)."""
    kind = packet[12] << 8 | packet[13]
    if kind == IPV4 and packet[23] == TCP:
        start = 14 + (packet[14] & 0xf) * 4
        source, target = packet[26:30], packet[30:34]
        end = 14 + (packet[16] << 8 | packet[17])
    elif kind == IPV6 and packet[20] == TCP:
        start = 54
        source, target = packet[22:38], packet[38:54]
        end = 54 + (packet[18] << 8 | packet[19])
    else:
        return None
    # Segments of more than 64 KiB have no length in their header.
    end = len(packet) if end <= start else end
    sport, dport, seq, _, head, flags = struct.unpack_from(">HHIIBB", packet, start)
    payload = packet[start + (head >> 4) * 4:end]
    return (source, sport), (target, dport), seq, flags, payload


def tcp_streams(path):
    """Every TCP stream of a capture: {(source, target): Stream}."""
    streams = {}
    for packet in packets(path):
        segment = tcp_segment(packet)
        if segment is None:
            continue
        source, target, seq, flags, payload = segment
        key = (source, target)
        if flags & SYN:
            if key not in streams:
                streams[key] = Stream((seq + 1) % WRAP)
            continue
        check(key in streams, f"no SYN was captured of {source[1]} -> {target[1]}")
        if payload:
            streams[key].add(seq, payload)
        if flags & (FIN | RST):
            streams[key].ended = True
    return streams
