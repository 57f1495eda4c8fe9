# SPDX-License-Identifier: Apache-2.0
"""Files of packets: pcap and pcapng, as they are or gzipped.

What is cut off or damaged ends in Refused, after the packets in front of it.
"""

import collections
import gzip
import io
import struct
import zlib

NG_START = b"\x0a\x0d\x0d\x0a"
NG_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
NG_INTERFACE, NG_OLD_PACKET, NG_SIMPLE_PACKET, NG_PACKET = 1, 2, 3, 6
# Micro- and nanoseconds; the last one has 8 more bytes per packet.
ORDERS = {b"\xd4\xc3\xb2\xa1": ("<", 16), b"\x4d\x3c\xb2\xa1": ("<", 16),
          b"\xa1\xb2\xc3\xd4": (">", 16), b"\xa1\xb2\x3c\x4d": (">", 16),
          b"\x34\xcd\xb2\xa1": ("<", 24), b"\xa1\xb2\xcd\x34": (">", 24)}
GZIP = b"\x1f\x8b"
FILE_BYTES_MAX = 1 << 30

Packet = collections.namedtuple("Packet", "link frame")


class Refused(Exception):
    """This cannot be read; the text says where and why."""


def is_capture(path):
    """Whether a file starts like a capture."""
    with open(path, "rb") as file:
        start = file.read(4)
    return start == NG_START or start in ORDERS


def read(path):
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if data[:2] == GZIP:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path}: {error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise Refused(f"{path}: more than {FILE_BYTES_MAX >> 20} MiB")
    return data


def packets(path):
    """Every packet of a file."""
    data = read(path)
    if data[:4] == NG_START:
        yield from _packets_ng(data, path)
    elif data[:4] in ORDERS:
        yield from _packets_old(data, path)
    else:
        raise Refused(f"{path}: starts with {data[:4].hex() or 'nothing'}, which no capture does")


def _packets_old(data, path):
    order, head = ORDERS[data[:4]]
    if len(data) < 24:
        raise Refused(f"{path}: {len(data)} bytes, the file header alone has 24")
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at < len(data):
        if at + head > len(data):
            raise Refused(f"{path}: cut off in the packet header at byte {at}")
        captured = struct.unpack_from(order + "I", data, at + 8)[0]
        if at + head + captured > len(data):
            raise Refused(f"{path}: cut off: the packet at byte {at} has {captured} bytes, "
                          f"{len(data) - at - head} are there")
        yield Packet(link, data[at + head:at + head + captured])
        at += head + captured


def _packets_ng(data, path):
    at, order, interfaces = 0, "<", []
    while at < len(data):
        if at + 12 > len(data):
            raise Refused(f"{path}: cut off in the block header at byte {at}")
        if data[at:at + 4] == NG_START:
            order, interfaces = NG_ORDERS.get(data[at + 8:at + 12]), []
            if not order:
                raise Refused(f"{path}: the section at byte {at} has no byte order")
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            raise Refused(f"{path}: cut off: the block at byte {at} has {size} bytes, "
                          f"{len(data) - at} are there")
        packet = _packet_of(kind, order, data[at + 8:at + size - 4], interfaces)
        if packet is False:
            raise Refused(f"{path}: the block of type {kind} at byte {at} contradicts itself")
        if packet:
            yield packet
        at += size


def _packet_of(kind, order, body, interfaces):
    """What is in a block of a pcapng file: None without a packet, False if it cannot be."""
    heads = {NG_INTERFACE: 8, NG_OLD_PACKET: 20, NG_SIMPLE_PACKET: 4, NG_PACKET: 20}
    if kind not in heads:
        return None
    if len(body) < heads[kind]:
        return False
    frame = body[heads[kind]:]
    if kind == NG_INTERFACE:
        link, _, snap = struct.unpack_from(order + "HHI", body)
        interfaces.append((link, snap or len(body)))
        return None
    if kind == NG_SIMPLE_PACKET:
        captured = min(struct.unpack_from(order + "I", body)[0], len(frame),
                       interfaces[0][1] if interfaces else 0)
        number = 0
    else:
        head = "IIII" if kind == NG_PACKET else "HHIII"
        fields = struct.unpack_from(order + head, body)
        number, captured = fields[0], fields[3 if kind == NG_PACKET else 4]
    if number >= len(interfaces) or captured > len(frame):
        return False
    return Packet(interfaces[number][0], frame[:captured])
