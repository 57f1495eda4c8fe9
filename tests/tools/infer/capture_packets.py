# SPDX-License-Identifier: Apache-2.0
"""From the frame of a packet to its TCP segment or UDP datagram.

Frames of Ethernet (VLAN tags, PPPoE, MPLS), Linux cooked, loopback, raw IP and PPP; IPv4 and
IPv6 with extension headers; fragments are put together; tunnels (IP in IP, GRE, VXLAN) are
looked into.
"""

import collections
import struct

ETHERNET, NULL, PPP, RAW_BSD, RAW_OPENBSD, RAW, LOOP, COOKED, RAW_IPV4, RAW_IPV6, COOKED2 = \
    1, 0, 9, 12, 14, 101, 108, 113, 228, 229, 276
IPV4, IPV6, MPLS, PPPOE, BRIDGE = 0x0800, 0x86DD, 0x8847, 0x8864, 0x6558
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
PPP_TYPES = {0x0021: IPV4, 0x0057: IPV6}
IP_IN_IP, TCP, UDP, IPV6_IN_IP, GRE = 4, 6, 17, 41, 47
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, OPTIONS, MOBILITY = 0, 43, 44, 51, 60, 135
VXLAN_PORTS = (4789, 8472)
NESTING_MAX = 8
FRAGMENTED_MAX = 256  # packets that wait for the rest of their fragments

# `size`: bytes of the segment on the wire, of which `data` are those that were captured.
Segment = collections.namedtuple("Segment", "protocol source destination data size")


class UnknownLink(Exception):
    """Frames of a kind that is not known here."""


def _number(data, at, size=2):
    return int.from_bytes(data[at:at + size], "big")


def ip_of(link, frame):
    """The IP packet in a frame, or None."""
    if link == ETHERNET:
        return _behind_type(_number(frame, 12), frame[14:])
    if link == COOKED:
        return _behind_type(_number(frame, 14), frame[16:])
    if link == COOKED2:
        return _behind_type(_number(frame, 0), frame[20:])
    if link in (NULL, LOOP):
        return frame[4:]
    if link in (RAW, RAW_BSD, RAW_OPENBSD, RAW_IPV4, RAW_IPV6):
        return frame
    if link == PPP:
        at = 2 if frame[:2] == b"\xff\x03" else 0
        return _behind_type(PPP_TYPES.get(_number(frame, at)), frame[at + 2:])
    raise UnknownLink(f"link type {link} is none of Ethernet, cooked, loopback, raw IP and PPP")


def _behind_type(kind, data):
    for _ in range(NESTING_MAX):
        if kind in VLAN_TYPES:
            kind, data = _number(data, 2), data[4:]
        elif kind == PPPOE:
            kind, data = PPP_TYPES.get(_number(data, 6)), data[8:]
        elif kind == MPLS and len(data) > 4:
            is_last, data = data[2] & 1, data[4:]
            if is_last:
                kind = {4: IPV4, 6: IPV6}.get(data[0] >> 4)
        elif kind is not None and kind <= 1500 and data[:6] == b"\xaa\xaa\x03\0\0\0":
            kind, data = _number(data, 6), data[8:]
        else:
            break
    return data if kind in (IPV4, IPV6) else None


class Fragments:
    """Packets of which fragments were seen; the oldest ones are given up."""

    def __init__(self):
        self._waiting = collections.OrderedDict()

    def add(self, key, offset, data, is_last):
        """The whole of it, as soon as it is there."""
        parts, end = self._waiting.pop(key, ({}, None))
        parts.setdefault(offset, data)
        end = offset + len(data) if is_last else end
        whole = b""
        for at in sorted(parts):
            if at > len(whole):
                break
            whole += parts[at][len(whole) - at:]
        if end is not None and len(whole) >= end:
            return whole[:end]
        self._waiting[key] = parts, end
        if len(self._waiting) > FRAGMENTED_MAX:
            self._waiting.popitem(last=False)
        return None


def segment_of(packet, fragments, depth=0):
    """The TCP or UDP segment in an IP packet, or None."""
    if packet is None or depth > NESTING_MAX:
        return None
    version = packet[0] >> 4 if packet else 0
    found = None
    if version == 4 and len(packet) >= 20:
        found = _inside_ipv4(packet, fragments)
    elif version == 6 and len(packet) >= 40:
        found = _inside_ipv6(packet, fragments)
    if not found:
        return None
    protocol, source, destination, data, size = found
    if protocol in (IP_IN_IP, IPV6_IN_IP):
        return segment_of(data, fragments, depth + 1)
    if protocol == GRE and len(data) >= 4:
        at = 4 + 4 * sum(bool(data[0] & bit) for bit in (0x80, 0x20, 0x10))
        kind, inner = _number(data, 2), data[at:]
        inner = ip_of(ETHERNET, inner) if kind == BRIDGE else _behind_type(kind, inner)
        return segment_of(inner, fragments, depth + 1)
    if protocol == UDP and len(data) > 16 and _number(data, 2) in VXLAN_PORTS and data[8] & 8:
        inner = segment_of(ip_of(ETHERNET, data[16:]), fragments, depth + 1)
        if inner:
            return inner
    return Segment(protocol, source, destination, data, size) if protocol in (TCP, UDP) else None


def _inside_ipv4(packet, fragments):
    header = (packet[0] & 15) * 4
    total = _number(packet, 2) or len(packet)  # 0: left to the network card
    if header < 20 or total < header:
        return None
    protocol, source, destination = packet[9], packet[12:16], packet[16:20]
    data, size = packet[header:total], total - header
    place = _number(packet, 6)
    if place & 0x3FFF:
        if len(data) < size:
            return None  # not captured whole
        data = fragments.add((source, destination, protocol, packet[4:6]), (place & 0x1FFF) * 8,
                             data, not place & 0x2000)
        if data is None:
            return None
        size = len(data)
    return protocol, source, destination, data, size


def _inside_ipv6(packet, fragments):
    source, destination = packet[8:24], packet[24:40]
    size = _number(packet, 4) or len(packet) - 40
    kind, data = packet[6], packet[40:40 + size]
    for _ in range(NESTING_MAX):
        if kind == FRAGMENT and len(data) >= 8:
            if len(data) < size:
                return None
            place = _number(data, 2)
            kind, whole = data[0], data[8:]
            if place & ~6:  # else it is the only one
                whole = fragments.add((source, destination, kind, data[4:8]), place & ~7, whole,
                                      not place & 1)
            if whole is None:
                return None
            data, size = whole, len(whole)
            continue
        if kind not in (HOP_BY_HOP, ROUTING, OPTIONS, MOBILITY, AUTHENTICATION) or len(data) < 8:
            break
        length = data[1] * 4 + 8 if kind == AUTHENTICATION else data[1] * 8 + 8
        kind, data, size = data[0], data[length:], size - length
    return (kind, source, destination, data, size) if size > 0 else None
