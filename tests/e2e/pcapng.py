# SPDX-License-Identifier: Apache-2.0
"""Reads the interface statistics of a pcapng file, and what tshark makes of the rest."""

import struct

from lib import check, check_equal, foreign

INTERFACE_STATISTICS = 5
RECEIVED, DROPPED, DROPPED_BY_OS = 4, 5, 7


def blocks(path):
    """(type, body) of every block; the lengths at both ends must agree."""
    with open(path, "rb") as file:
        content = file.read()
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from("<II", content, at)
        check(size % 4 == 0 and 12 <= size <= len(content) - at, f"block of {size} bytes at {at}")
        check_equal(struct.unpack_from("<I", content, at + size - 4)[0], size, "second length")
        yield kind, content[at + 8:at + size - 4]
        at += size


def statistics(path):
    """{interface: {option: number}} of the statistics blocks."""
    found = {}
    for kind, body in blocks(path):
        if kind != INTERFACE_STATISTICS:
            continue
        interface, at, numbers = struct.unpack_from("<I", body)[0], 12, {}
        while at + 4 <= len(body):
            code, size = struct.unpack_from("<HH", body, at)
            if code in (RECEIVED, DROPPED, DROPPED_BY_OS):
                numbers[code] = struct.unpack_from("<Q", body, at + 4)[0]
            at += 4 + (size + 3) // 4 * 4
        found[interface] = numbers
    return found


class Capture:
    """A capture as tshark reads it; `ports` says what speaks at which TCP or UDP port."""

    def __init__(self, bench, path, ports=()):
        self._bench = bench
        self._command = [foreign("tshark"), "-n", "-r", path]
        for layer, port, protocol in ports:
            self._command += ["-d", f"{layer}.port=={port},{protocol}"]

    def fields(self, wanted, *names):
        """The fields of the packets that the display filter takes, a list for each."""
        command = [*self._command, "-Y", wanted, "-T", "fields", "-E", "separator=/t"]
        for name in names:
            command += ["-e", name]
        done = self._bench.run(command)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def count(self, wanted):
        return len(self.fields(wanted, "frame.number"))

    def follow(self, stream):
        """Both directions of a TCP stream, as text."""
        return self._bench.run([*self._command, "-q", "-z", f"follow,tcp,ascii,{stream}"]).stdout

    def check_clean(self):
        """Nothing in it is broken: no packet that cannot be, no hole, no byte twice."""
        faults = ["_ws.malformed", *(f"tcp.analysis.{fault}" for fault in (
            "lost_segment", "ack_lost_segment", "retransmission", "out_of_order"))]
        found = self.fields(" || ".join(faults), "frame.number", "_ws.col.Info")
        check(not found, f"broken packets: {found[:3]}")
