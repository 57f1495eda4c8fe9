#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the inference makes of captures of known protocols, natively and in the kernel.

    scripts/matrix.py DIR [--native]

DIR holds a folder per protocol: http (HTTP/1 and HTTP/2), http1, http2, dubbo, mysql, redis,
kafka, dns, or with more behind such a name (dns-tcp, mysql8); every other name ("other") holds
protocols that are none of these. Each connection is seen as its client and as its server: once
through the inference header compiled natively, once played through real sockets, message by
message, between two traced processes. Both must name the folder's protocol, and agree record
by record. Ends with 1 where a connection is missed or named wrongly, where what is none of the
protocols is called certain, or where a file cannot be read.

Two kinds of connections are judged by what they are, in any folder: look-ups of names, by
their port, and encrypted ones, by the first bytes of TLS.
"""

import argparse
import collections
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import shutil

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests/e2e"), os.path.join(ROOT, "tests/tools/infer")]
from captures import Refused, TCP, flows_of  # noqa: E402
import capture_file  # noqa: E402
import lib  # noqa: E402
import trace_file  # noqa: E402

NAMES = {0: "none", 20: "HTTP/1", 21: "HTTP/2", 40: "Dubbo", 60: "MySQL", 80: "Redis",
         100: "Kafka", 120: "DNS"}
FOLDERS = {"http": {20, 21}, "http1": {20}, "http2": {21}, "h2": {21}, "h2c": {21}, "grpc": {21},
           "dubbo": {40}, "mysql": {60}, "mariadb": {60}, "redis": {80}, "kafka": {100},
           "dns": {120}, "mdns": {120}}
NAME_PORTS = (53, 5353, 5355)
ENDINGS = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz")
DATAGRAM_MAX = 65507
PLAY_SECONDS = 60

# One record: what both ways to infer must agree on.
Record = collections.namedtuple("Record", "sent length protocol type likely")


def protocols_of(folder):
    """What a folder holds by its name: "mysql", "MySQL8", "dns-tcp"; nothing: decoys."""
    word = re.split(r"[^a-z0-9]", folder.lower())[0]
    return FOLDERS.get(word) or (FOLDERS.get(word.rstrip("0123456789"), set())
                                 if not word.startswith("http") else set())


class Stream:
    """A connection of a capture, with what was made of its two ends."""

    def __init__(self, folder, path, flow):
        self.row, self.flow = folder, flow
        self.truth = protocols_of(folder)
        if flow.server[1] in NAME_PORTS or flow.client[1] in NAME_PORTS:
            self.row, self.truth = "dns", FOLDERS["dns"]
        elif flow.protocol == TCP and re.match(rb"[\x14-\x17]\x03[\0-\4]", flow.messages[0][1]):
            self.row, self.truth = "(TLS)", set()
        self.name = (f"{folder}/{os.path.basename(path)} "
                     f"{flow.client[1]}>{flow.server[1]} ({len(flow.messages)} messages)")
        self.native = {"client": [], "server": []}
        self.live = {"client": [], "server": []}


def captures_in(folder):
    """Files that are captures by name or by what they start with, in this folder and below."""
    for inside, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = os.path.join(inside, file)
            if not os.path.isfile(path):
                continue
            if file.lower().endswith(ENDINGS) or capture_file.is_capture(path):
                yield path


def read_streams(folder):
    """Every connection, notes, and faults."""
    streams, notes, refused = [], [], []
    for kind in sorted(os.listdir(folder)):
        for path in captures_in(os.path.join(folder, kind)):
            try:
                flows, said = flows_of(path)
            except Refused as reason:
                refused.append(str(reason))
                continue
            streams += [Stream(kind, path, flow) for flow in flows]
            notes += said
    return streams, notes, refused


def infer_natively(streams):
    lines = []
    for stream in streams:
        is_tcp = int(stream.flow.protocol == TCP)
        for from_client, payload in stream.flow.messages:
            captured = payload[:512].hex()
            for end in ("client", "server"):
                received = int(from_client != (end == "client"))
                lines.append(f"{end} {received} {is_tcp} {len(payload)} {captured}")
        lines.append("-")
    done = subprocess.run([lib.program("ebpf-infer")], input="\n".join(lines) + "\n", text=True,
                          capture_output=True, check=False)
    lib.check(done.returncode == 0, f"ebpf-infer ended with {done.returncode}: {done.stderr}")
    at = 0
    for line in done.stdout.splitlines():
        if line == "-":
            at += 1
            continue
        end, *numbers = line.split()
        direction, length, protocol, kind, likely = map(int, numbers)
        streams[at].native[end].append(Record(not direction, length, protocol, kind, bool(likely)))


def play_end(stream, sock, is_client, turns):
    """In a process of its own: this end's part of the conversation. A datagram is sent when
    the one before it has arrived, so that none gets lost."""
    signal.alarm(PLAY_SECONDS)
    try:
        for from_client, payload in stream.flow.messages:
            if stream.flow.protocol == TCP:
                if from_client == is_client:
                    sock.sendall(payload)
                elif len(sock.recv(len(payload), socket.MSG_WAITALL)) != len(payload):
                    os._exit(1)
            elif from_client == is_client:
                sock.send(payload[:DATAGRAM_MAX])
                if not turns.recv(1):
                    os._exit(1)
            else:
                sock.recv(65536)
                turns.send(b".")
        os._exit(0)
    except OSError as error:
        print(f"matrix: {stream.name}: {error}", file=sys.stderr)
        os._exit(1)


def connect(protocol, family):
    """The client's and the server's socket of a connection over loopback."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    if protocol == TCP:
        with socket.socket(family) as listener:
            listener.bind((address, 0))
            listener.listen(1)
            client = socket.socket(family)
            client.connect(listener.getsockname())
            server = listener.accept()[0]
        for end in (client, server):  # each message leaves at once, as it was captured
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        client, server = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for end in (client, server):
            end.bind((address, 0))
        client.connect(server.getsockname())
        server.connect(client.getsockname())
    return client, server


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def play(streams):
    """Plays every connection; gives {(process id, local port): (stream, end)}."""
    ends = {}
    ipv6 = has_ipv6()
    for stream in streams:
        family = socket.AF_INET6 if ipv6 and len(stream.flow.client[0]) == 16 else socket.AF_INET
        pairs = list(zip(("client", "server"), connect(stream.flow.protocol, family),
                         socket.socketpair()))
        children = []
        for end, sock, turns in pairs:
            child = os.fork()
            if child == 0:
                lib.die_with_parent()
                for other, *theirs in pairs:
                    for one in theirs if other != end else ():
                        one.close()
                play_end(stream, sock, end == "client", turns)
            ends[child, sock.getsockname()[1]] = stream, end
            children.append(child)
        for _, *mine in pairs:
            for one in mine:
                one.close()
        for child in children:
            _, status = os.waitpid(child, 0)
            lib.check(status == 0, f"{stream.name} could not be played: status {status}")
    return ends


def infer_in_kernel(streams):
    """Gives faults of the way there, such as records that were lost."""
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-matrix-"))
    try:
        trace = bench.path("trace.ebpfrec")
        producer = bench.producer("--perf-pages", "4096", "--record", trace)
        ends = play(streams)
        lib.check_equal(producer.stop(), 0, "exit code of the producer")
        records, gaps = trace_file.read(trace)
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)
    for record in sorted(records, key=lambda record: record.cap_seq):
        stream, end = ends.get((record.process_id, record.lport), (None, None))
        if stream:
            stream.live[end].append(Record(record.direction == trace_file.SENT, record.syscall_len,
                                           record.l7, record.msg_type, bool(record.need_reconfirm)))
    return [f"{sum(gap.count for gap in gaps)} records were lost on their way"] if gaps else []


def verdict(records):
    """What a reader of the records says in the end: the protocol, and whether it is certain."""
    if not records:
        return 0, False
    return records[-1].protocol, any(not record.likely for record in records)


def faults_of(stream, end, records):
    protocol, _ = verdict(records)
    certain = {record.protocol for record in records if not record.likely}
    if not stream.truth:
        return [f"called certainly {NAMES[wrong]}" for wrong in certain]
    allowed = set(stream.truth)
    if stream.truth == {21} and protocol == 21:
        allowed.add(20)  # what was upgraded
    faults = [f"called {NAMES[record.protocol]}" for record in records
              if record.protocol not in allowed][:1]
    if protocol == 0:
        faults.append("not recognised")
    return faults


def print_matrix(streams, attribute, title):
    table = collections.Counter()
    certain = collections.Counter()
    for stream in streams:
        for records in getattr(stream, attribute).values():
            protocol, is_certain = verdict(records)
            table[stream.row, protocol] += 1
            certain[stream.row] += is_certain
    print(f"\n{title}: ends of connections by what they were recognised as")
    print(f"  {'folder':10}" + "".join(f"{name:>8}" for name in NAMES.values()) + "   certain")
    for folder in sorted({stream.row for stream in streams}):
        row = "".join(f"{table[folder, protocol] or '.':>8}" for protocol in NAMES)
        print(f"  {folder:10}{row}{certain[folder]:>10}")


def print_late(streams):
    """Connections that were recognised behind their first message only."""
    for stream in streams:
        for end, records in stream.native.items():
            told = sum(record.length for record in records)
            moved = sum(len(payload) for _, payload in stream.flow.messages)
            if stream.truth and records and told < moved:
                print(f"  {stream.name}, as {end}: {moved - told} of {moved} bytes went by before")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--native", action="store_true", help="do not play them under the tracer")
    parser.add_argument("--all", action="store_true", help="print every record")
    options = parser.parse_args()
    if not os.path.isdir(options.folder):
        print(f"SKIP: {options.folder} is not there; PCAPS=DIR names a folder of captures")
        return 77
    streams, notes, faults = read_streams(options.folder)
    for note in notes:
        print(f"  note: {note}")
    if not streams:
        for fault in faults:
            print(f"  {fault}")
        print(f"matrix: no connection in {options.folder}; there must be folders of *.pcap in it")
        return 1
    infer_natively(streams)
    print_matrix(streams, "native", "Natively")
    is_live = not options.native
    if is_live:
        try:
            if os.geteuid() != 0:
                raise lib.Skip("needs root")
            lib.mount_tracefs()
            faults += infer_in_kernel(streams)
            print_matrix(streams, "live", "In the kernel")
        except lib.Skip as reason:
            print(f"SKIP: in the kernel: {reason}")
            is_live = False
    print_late(streams)
    for stream in streams:
        for end in ("client", "server"):
            if options.all:
                print(stream.name, end, *stream.native[end], sep="\n    ")
            faults += [f"{stream.name}, as {end}: {fault}"
                       for fault in faults_of(stream, end, stream.native[end])]
            if not is_live:
                continue
            faults += [f"{stream.name}, as {end}, in the kernel: {fault}"
                       for fault in faults_of(stream, end, stream.live[end])]
            if stream.live[end] != stream.native[end]:
                pairs = zip(stream.live[end] + [None], stream.native[end] + [None])
                first = next((pair for pair in pairs if pair[0] != pair[1]), None)
                faults.append(f"{stream.name}, as {end}: {len(stream.live[end])} records in the "
                              f"kernel, {len(stream.native[end])} natively; first difference: {first}")
    print(f"\n{len(streams)} connections, {len(faults)} faults")
    for fault in faults:
        print(f"  {fault}")
    if not is_live and not options.native:
        return 77 if not faults else 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
