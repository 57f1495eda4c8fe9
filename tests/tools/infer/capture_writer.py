# SPDX-License-Identifier: Apache-2.0
"""Writes captures for tests: segments, IP packets, frames and files of every kind that
captures.py reads."""

import socket
import struct

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
TCP, UDP = 6, 17


def tcp(sport, dport, seq, payload=b"", flags=PSH | ACK, ack=0):
    return struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 << 4,
                       flags, 65535, 0, 0) + payload


def udp(sport, dport, payload):
    return struct.pack(">HHHH", sport, dport, len(payload) + 8, 0) + payload


def ipv4(source, target, protocol, segment, number=0, place=0, total=None):
    size = 20 + len(segment) if total is None else total
    return struct.pack(">BBHHHBBH", 0x45, 0, size, number, place, 64, protocol, 0) + \
        socket.inet_aton(source) + socket.inet_aton(target) + segment


def ipv6(source, target, protocol, segment, extensions=()):
    """`extensions`: (kind, bytes of a whole number of 8), from the outside in."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    chain = b"".join(bytes([kinds[at + 1]]) + body[1:] for at, (_, body) in enumerate(extensions))
    return struct.pack(">IHBB", 6 << 28, len(chain) + len(segment), kinds[0], 64) + \
        socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + \
        chain + segment


def fragments_v4(source, target, protocol, segment, size, number=77):
    """An IPv4 packet in fragments of `size` bytes, a multiple of 8."""
    for at in range(0, len(segment), size):
        more = 0x2000 if at + size < len(segment) else 0
        yield ipv4(source, target, protocol, segment[at:at + size], number, more | at // 8)


def fragments_v6(source, target, protocol, segment, size, number=77):
    for at in range(0, len(segment), size):
        more = int(at + size < len(segment))
        header = struct.pack(">BBHI", 0, 0, at | more, number)
        yield ipv6(source, target, protocol, segment[at:at + size], [(44, header)])


def ethernet(packet, tags=()):
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    return bytes(12) + b"".join(struct.pack(">HH", tag, 7) for tag in tags) + \
        struct.pack(">H", kind) + packet


def _kind(packet):
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


# Link types by name, and how a packet is put into a frame of theirs.
LINKS = {
    "ethernet": (1, ethernet),
    "vlan": (1, lambda packet: ethernet(packet, (0x8100,))),
    "qinq": (1, lambda packet: ethernet(packet, (0x88A8, 0x8100))),
    "pppoe": (1, lambda packet: bytes(12) + struct.pack(">HBBHHH", 0x8864, 0x11, 0, 1,
                                                        len(packet) + 2, 0x57 if packet[0] >> 4 == 6
                                                        else 0x21) + packet),
    "mpls": (1, lambda packet: bytes(12) + b"\x88\x47" + b"\0\1\0\x40" + b"\0\2\1\x40" + packet),
    "cooked": (113, lambda packet: bytes(14) + struct.pack(">H", _kind(packet)) + packet),
    "cooked2": (276, lambda packet: struct.pack(">H", _kind(packet)) + bytes(18) + packet),
    "raw": (101, lambda packet: packet),
    "raw-bsd": (12, lambda packet: packet),
    "null": (0, lambda packet: struct.pack("<I", 30 if packet[0] >> 4 == 6 else 2) + packet),
    "loop": (108, lambda packet: struct.pack(">I", 30 if packet[0] >> 4 == 6 else 2) + packet),
    "ppp": (9, lambda packet: b"\xff\x03\0" + (b"\x57" if packet[0] >> 4 == 6 else b"\x21") +
            packet),
}


def vxlan(packet):
    """In a tunnel, between two other hosts."""
    return ipv4("192.0.2.1", "192.0.2.2", UDP,
                udp(40000, 4789, b"\x08\0\0\0\0\0\x2a\0" + ethernet(packet)))


def gre(packet):
    return ipv4("192.0.2.1", "192.0.2.2", 47, struct.pack(">HHI", 0x2000, _kind(packet), 5) +
                packet)


def pcap(link, frames, order="<", nanoseconds=False, snap=262144):
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)
    for number, frame in enumerate(frames):
        kept = frame[:snap]
        out += struct.pack(order + "IIII", 1700000000, number, len(kept), len(frame)) + kept
    return out


def block(order, kind, body, options=b""):
    body += bytes(-len(body) % 4) + options
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def section(order="<"):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1),
                 struct.pack(order + "HH", 4, 4) + b"test" + bytes(4))


def interface(order, link, snap=0):
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap),
                 struct.pack(order + "HHB3x", 9, 1, 9) + bytes(4))


def packet(order, number, frame, snap=1 << 20):
    head = struct.pack(order + "IIIII", number, 0, 0, len(frame[:snap]), len(frame))
    comment = struct.pack(order + "HH", 1, 5) + b"hello" + bytes(3) + bytes(4)
    return block(order, 6, head + frame[:snap], comment)


def old_packet(order, number, frame):
    return block(order, 2, struct.pack(order + "HHIIII", number, 0, 0, 0, len(frame), len(frame)) +
                 frame)


def simple_packet(order, frame, snap=1 << 20):
    return block(order, 3, struct.pack(order + "I", len(frame)) + frame[:snap])


class Conversation:
    """A TCP connection as packets."""

    def __init__(self, client=("10.0.0.1", 40000), server=("10.0.0.2", 80), seqs=(1000, 5000),
                 mtu=1400):
        self.ends = client, server
        self.seqs = list(seqs)
        self.mtu = mtu
        self.is_v6 = ":" in client[0]

    def segment(self, from_client, seq, payload=b"", flags=PSH | ACK, ack=None):
        (source, sport), (target, dport) = self.ends if from_client else self.ends[::-1]
        ack = self.seqs[from_client] if ack is None else ack
        segment = tcp(sport, dport, seq, payload, flags, ack)
        return (ipv6 if self.is_v6 else ipv4)(source, target, TCP, segment)

    def handshake(self):
        yield self.segment(True, self.seqs[0] - 1, flags=SYN, ack=0)
        yield self.segment(False, self.seqs[1] - 1, flags=SYN | ACK, ack=self.seqs[0])
        yield self.segment(True, self.seqs[0], flags=ACK)

    def say(self, from_client, payload):
        """In segments, each confirmed by the other end."""
        side = 0 if from_client else 1
        for at in range(0, len(payload), self.mtu):
            part = payload[at:at + self.mtu]
            yield self.segment(from_client, self.seqs[side], part)
            self.seqs[side] += len(part)
            yield self.segment(not from_client, self.seqs[1 - side], flags=ACK)

    def end(self):
        for from_client in (True, False):
            side = 0 if from_client else 1
            yield self.segment(from_client, self.seqs[side], flags=FIN | ACK)

    def whole(self, messages):
        """From the handshake to the end; messages are (from the client?, bytes)."""
        yield from self.handshake()
        for from_client, payload in messages:
            yield from self.say(from_client, payload)
        yield from self.end()
