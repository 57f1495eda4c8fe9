# SPDX-License-Identifier: Apache-2.0
"""Packet captures as connections: who said what, in the order in which it was captured.

pcap (both byte orders, micro- and nanoseconds) and pcapng; Ethernet with and without VLAN
tags, Linux cooked, raw IP and loopback frames; IPv4 and IPv6; TCP and UDP. A file that is cut
off, or of another kind, is refused.
"""

import struct

ETHERNET, NULL, RAW, RAW_BSD, LOOP, COOKED, RAW_IPV4, RAW_IPV6, COOKED2 = \
    1, 0, 101, 12, 108, 113, 228, 229, 276
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
TCP, UDP = 6, 17
SYN, ACK = 0x02, 0x10


class Refused(Exception):
    """This is no capture that can be read; the text says why."""


class Flow:
    """One connection. Messages are (from the client?, bytes)."""

    def __init__(self, protocol, client, server):
        self.protocol = protocol
        self.client = client
        self.server = server
        self.messages = []
        self.next_seq = {}

    def add(self, source, payload):
        self.messages.append((source == self.client, payload))


def packets(data, name):
    """Gives (link type, frame, length on the wire)."""
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        yield from _packets_ng(data, name)
        return
    magics = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<",
              b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
    order = magics.get(data[:4])
    if not order:
        raise Refused(f"{name}: starts with {data[:4].hex() or 'nothing'}, which no capture does")
    if len(data) < 24:
        raise Refused(f"{name}: {len(data)} bytes, the file header alone has 24")
    link = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFFFFFF
    at = 24
    while at < len(data):
        if at + 16 > len(data):
            raise Refused(f"{name}: cut off in a packet header at byte {at}")
        captured, length = struct.unpack_from(order + "II", data, at + 8)
        if at + 16 + captured > len(data):
            raise Refused(f"{name}: cut off: the packet at byte {at} has {captured} bytes, "
                          f"{len(data) - at - 16} are there")
        yield link, data[at + 16:at + 16 + captured], length
        at += 16 + captured


def _packets_ng(data, name):
    at, order, links = 0, "<", []
    while at < len(data):
        if at + 12 > len(data):
            raise Refused(f"{name}: cut off in a block header at byte {at}")
        kind = struct.unpack_from(order + "I", data, at)[0]
        if data[at:at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        size = struct.unpack_from(order + "I", data, at + 4)[0]
        if size < 12 or size % 4 or at + size > len(data):
            raise Refused(f"{name}: cut off: the block at byte {at} has {size} bytes, "
                          f"{len(data) - at} are there")
        if kind == 1:
            links.append(struct.unpack_from(order + "H", data, at + 8)[0])
        elif kind == 6 and size >= 32:
            interface, _, _, captured, length = struct.unpack_from(order + "5I", data, at + 8)
            if interface >= len(links) or captured > size - 32:
                raise Refused(f"{name}: the packet block at byte {at} contradicts itself")
            yield links[interface], data[at + 28:at + 28 + captured], length
        elif kind == 3 and size >= 16 and links:
            length = struct.unpack_from(order + "I", data, at + 8)[0]
            yield links[0], data[at + 12:at + 12 + min(length, size - 16)], length
        at += size


def _ip_of(link, frame):
    """The IP packet of a frame, or None."""
    if link == ETHERNET:
        kind, at = frame[12:14], 14
        while len(kind) == 2 and int.from_bytes(kind, "big") in VLAN_TYPES:
            kind, at = frame[at + 2:at + 4], at + 4
    elif link == COOKED:
        kind, at = frame[14:16], 16
    elif link == COOKED2:
        kind, at = frame[0:2], 20
    elif link in (NULL, LOOP):
        return frame[4:]
    elif link in (RAW, RAW_BSD, RAW_IPV4, RAW_IPV6):
        return frame
    else:
        raise Refused(f"link type {link} is none of Ethernet, cooked, raw and loopback")
    return frame[at:] if int.from_bytes(kind, "big") in (0x0800, 0x86DD) else None


def _transport_of(packet):
    """(protocol, source, destination, segment, its length by the IP header), or None."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        size = struct.unpack_from(">H", packet, 2)[0] or len(packet)  # 0: offloaded to the card
        if struct.unpack_from(">H", packet, 6)[0] & 0x1FFF or header < 20:
            return None  # a later fragment
        return packet[9], packet[12:16], packet[16:20], packet[header:size], size - header
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        kind, at = packet[6], 40
        size = struct.unpack_from(">H", packet, 4)[0] or len(packet) - 40
        while kind in (0, 43, 60) and at + 2 <= len(packet):
            kind, at = packet[at], at + 8 + 8 * packet[at + 1]
        return kind, packet[8:24], packet[24:40], packet[at:40 + size], 40 + size - at
    return None


def flows_of(path):
    """The connections of a file that carry bytes, in the order of their first packets."""
    with open(path, "rb") as file:
        data = file.read()
    open_flows, done = {}, []
    for link, frame, _ in packets(data, path):
        try:
            packet = _ip_of(link, frame)
        except Refused as reason:
            raise Refused(f"{path}: {reason}") from None
        found = _transport_of(packet) if packet else None
        if not found or found[0] not in (TCP, UDP) or len(found[3]) < 8:
            continue
        protocol, source, destination, segment, size = found
        ports = struct.unpack_from(">HH", segment, 0)
        ends = (source, ports[0]), (destination, ports[1])
        key = (protocol, *sorted(ends))
        if protocol == TCP:
            if len(segment) < 20:
                continue
            header, flags = (segment[12] >> 4) * 4, segment[13]
            seq = struct.unpack_from(">I", segment, 4)[0]
            if flags & (SYN | ACK) == SYN and key in open_flows and open_flows[key].messages:
                del open_flows[key]  # the ports are used again
        else:
            header, flags, seq = 8, 0, 0
        if key not in open_flows:
            is_answer = flags & (SYN | ACK) == (SYN | ACK)
            from_client = ports[0] >= ports[1] if not flags & SYN else not is_answer
            client, server = ends if from_client else (ends[1], ends[0])
            open_flows[key] = Flow(protocol, client, server)
            done.append(open_flows[key])
        flow = open_flows[key]
        # What the capture cut off was there on the wire: zeros take its place.
        payload = segment[header:].ljust(max(0, size - header), b"\0")
        if protocol == TCP:
            if flags & SYN:
                flow.next_seq[ends[0]] = (seq + 1) & 0xFFFFFFFF
                continue
            known = (flow.next_seq.get(ends[0], seq) - seq) & 0xFFFFFFFF
            if known < 0x80000000:
                payload = payload[known:]
                seq = (seq + known) & 0xFFFFFFFF
            if not payload:
                continue
            flow.next_seq[ends[0]] = (seq + len(payload)) & 0xFFFFFFFF
        if payload:
            flow.add(ends[0], payload)
    return [flow for flow in done if flow.messages]
