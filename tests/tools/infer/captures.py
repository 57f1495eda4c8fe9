# SPDX-License-Identifier: Apache-2.0
"""Packet captures as connections: who said what, in the order in which it was captured.

TCP is put together: what was sent again is left out, what overtook is put back in its place,
and a hole that the capture has is passed over when the other end confirms what is behind it.
"""

import struct

import capture_file
import capture_packets
from capture_file import Refused
from capture_packets import TCP, UDP

__all__ = ["Flow", "Refused", "TCP", "UDP", "flows_of"]

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
SEQ_MASK = 0xFFFFFFFF
AHEAD_MAX = 4096  # segments of one way that wait for those before them


def _distance(seq, other):
    """How far `seq` is behind `other`; negative where it is ahead."""
    return (other - seq + 0x80000000 & SEQ_MASK) - 0x80000000


class Way:
    """One direction of a TCP connection."""

    def __init__(self):
        self.first = None  # of the sequence numbers, if the start was captured
        self.next = None
        self.ahead = {}

    def start(self, seq):
        if self.next is None:
            self.first = self.next = seq

    def add(self, seq, payload, flags):
        """What goes on where the stream ends so far, in segments as they were sent."""
        if self.next is None:
            self.next = seq
            if payload == b"\0" and not flags & PSH:
                self.next = seq + 1 & SEQ_MASK  # keeps the connection alive, and is no data
        if len(payload) > len(self.ahead.get(seq, b"")):
            self.ahead[seq] = payload
        yield from self._take()
        if len(self.ahead) > AHEAD_MAX:
            yield from self.skip()

    def _take(self):
        for seq in sorted(self.ahead, key=lambda seq: _distance(self.next, seq)):
            known = _distance(seq, self.next)
            if known < 0:
                return
            payload = self.ahead.pop(seq)[known:]
            if payload:
                self.next = self.next + len(payload) & SEQ_MASK
                yield payload

    def skip(self):
        """What is there behind holes that will not be filled any more."""
        while self.ahead:
            self.next = min(self.ahead, key=lambda seq: _distance(self.next, seq))
            yield from self._take()

    def confirm(self, ack):
        """The other end has everything up to there."""
        while self.ahead and self.next is not None and _distance(self.next, ack) > 0:
            nearest = min(self.ahead, key=lambda seq: _distance(self.next, seq))
            if _distance(nearest, ack) <= 0:
                return
            self.next = nearest
            yield from self._take()


class Flow:
    """One connection. Messages are (from the client?, bytes)."""

    def __init__(self, protocol, client, server):
        self.protocol = protocol
        self.client = client
        self.server = server
        self.messages = []
        self.ways = {client: Way(), server: Way()}

    def other(self, end):
        return self.server if end == self.client else self.client

    def add(self, source, payload):
        self.messages.append((source == self.client, payload))

    def end(self):
        for source, way in self.ways.items():
            for payload in way.skip():
                self.add(source, payload)


class Connections:
    """The connections of one file."""

    def __init__(self):
        self._open = {}
        self.all = []

    def flow(self, protocol, source, destination, flags=0, seq=0):
        key = (protocol, *sorted((source, destination)))
        flow = self._open.get(key)
        if flow and flags & (SYN | ACK) == SYN and \
                flow.ways[source].first not in (None, seq + 1 & SEQ_MASK):
            flow = None  # the ports are used again
        if flow and flags & (SYN | ACK) == SYN and flow.messages and \
                flow.ways[source].first is None:
            flow = None
        if not flow:
            from_client = source[1] >= destination[1]  # servers have the lower port, mostly
            if flags & SYN:
                from_client = not flags & ACK
            ends = (source, destination) if from_client else (destination, source)
            if key in self._open:
                self._open[key].end()
            flow = self._open[key] = Flow(protocol, *ends)
            self.all.append(flow)
        return flow

    def add_udp(self, segment, source, destination):
        size = min(segment.size, struct.unpack_from(">H", segment.data, 4)[0] or segment.size) - 8
        payload = segment.data[8:8 + max(0, size)].ljust(max(0, size), b"\0")
        if payload:
            self.flow(UDP, source, destination).add(source, payload)

    def add_tcp(self, segment, source, destination):
        if len(segment.data) < 20:
            return
        seq, ack, head, flags = struct.unpack_from(">IIBB", segment.data, 4)
        header = (head >> 4) * 4
        if header < 20 or header > segment.size:
            return
        # What the capture cut off was there on the wire: zeros take its place.
        payload = segment.data[header:].ljust(segment.size - header, b"\0")
        flow = self.flow(TCP, source, destination, flags, seq)
        way, back = flow.ways[source], flow.other(source)
        if flags & SYN:
            seq = seq + 1 & SEQ_MASK
            way.start(seq)
        if flags & ACK and payload:
            for confirmed in flow.ways[back].confirm(ack):
                flow.add(back, confirmed)
        for part in way.add(seq, payload, flags) if payload and not flags & RST else ():
            flow.add(source, part)

    def end(self):
        for flow in self._open.values():
            flow.end()
        return [flow for flow in self.all if flow.messages]


def flows_of(path):
    """(the connections of a file that carry bytes, in the order of their first packets, what
    there is to say of the file)."""
    connections, fragments = Connections(), capture_packets.Fragments()
    notes, packets = [], 0
    try:
        for packet in capture_file.packets(path):
            packets += 1
            try:
                ip = capture_packets.ip_of(packet.link, packet.frame)
            except capture_packets.UnknownLink as reason:
                if f"{path}: {reason}" not in notes:
                    notes.append(f"{path}: {reason}")
                continue
            segment = capture_packets.segment_of(ip, fragments)
            if not segment or len(segment.data) < 8:
                continue
            ports = struct.unpack_from(">HH", segment.data)
            source, destination = (segment.source, ports[0]), (segment.destination, ports[1])
            if source == destination:
                continue
            if segment.protocol == TCP:
                connections.add_tcp(segment, source, destination)
            else:
                connections.add_udp(segment, source, destination)
    except Refused as reason:
        notes.append(str(reason))
    flows = connections.end()
    if not flows:
        raise Refused(notes[0] if notes else f"{path}: no connection that carries bytes in "
                                             f"{packets} packets")
    return flows, notes
