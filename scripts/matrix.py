#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the inference makes of captures of known protocols, natively and in the kernel.

    scripts/matrix.py DIR [--native]

DIR holds a folder per protocol: http (HTTP/1 and HTTP/2), http1, http2, dubbo, mysql, redis,
kafka, dns; every other name ("other") holds protocols that are none of these. Each connection
is seen as its client and as its server: once through the inference header compiled natively,
once played through real sockets, message by message, between two traced processes. Both must
name the folder's protocol, and agree record by record. Ends with 1 where a connection is
missed or named wrongly, or where what is none of the protocols is called certain.
"""

import argparse
import collections
import os
import socket
import subprocess
import sys
import tempfile
import shutil

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests/e2e"), os.path.join(ROOT, "tests/tools/infer")]
from captures import Refused, TCP, flows_of  # noqa: E402
import lib  # noqa: E402

NAMES = {0: "none", 20: "HTTP/1", 21: "HTTP/2", 40: "Dubbo", 60: "MySQL", 80: "Redis",
         100: "Kafka", 120: "DNS"}
FOLDERS = {"http": {20, 21}, "http1": {20}, "http2": {21}, "grpc": {21}, "dubbo": {40},
           "mysql": {60}, "redis": {80}, "kafka": {100}, "dns": {120}}
TAIL_NAMES = {"HTTP": 20, "HTTP2": 21, "HTTP/1": 20, "HTTP/2": 21, "Dubbo": 40, "MySQL": 60,
              "Redis": 80, "Kafka": 100, "DNS": 120, "unknown": 0}
TYPES = {"request": 1, "response": 2}

# One record: what both ways to infer must agree on.
Record = collections.namedtuple("Record", "sent length protocol type likely")


class Stream:
    """A connection of a capture, with what was made of its two ends."""

    def __init__(self, folder, path, flow):
        self.folder, self.flow = folder, flow
        self.truth = FOLDERS.get(folder, set())
        self.name = (f"{folder}/{os.path.basename(path)} "
                     f"{flow.client[1]}>{flow.server[1]} ({len(flow.messages)} messages)")
        self.native = {"client": [], "server": []}
        self.live = {"client": [], "server": []}


def read_streams(folder):
    streams, refused = [], []
    for kind in sorted(os.listdir(folder)):
        inside = os.path.join(folder, kind)
        if not os.path.isdir(inside):
            continue
        for file in sorted(os.listdir(inside)):
            if not file.endswith((".pcap", ".pcapng", ".cap")):
                continue
            path = os.path.join(inside, file)
            try:
                streams += [Stream(kind, path, flow) for flow in flows_of(path)]
            except Refused as reason:
                refused.append(str(reason))
    return streams, refused


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


def play_end(stream, sock, is_client):
    """In a process of its own: this end's part of the conversation."""
    try:
        for from_client, payload in stream.flow.messages:
            if from_client == is_client:
                sock.sendall(payload)
            elif stream.flow.protocol == TCP:
                got = sock.recv(len(payload), socket.MSG_WAITALL)
                if len(got) != len(payload):
                    os._exit(1)
            else:
                sock.recv(65536)
        os._exit(0)
    except OSError as error:
        print(f"matrix: {stream.name}: {error}", file=sys.stderr)
        os._exit(1)


def connect(protocol):
    """The client's and the server's socket of a connection over loopback."""
    if protocol == TCP:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            client = socket.create_connection(listener.getsockname())
            server = listener.accept()[0]
        for end in (client, server):  # each message leaves at once, as it was captured
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        client, server = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for end in (client, server):
            end.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        server.connect(client.getsockname())
    for end in (client, server):
        end.settimeout(None)
    return client, server


def play(streams):
    """Plays every connection; gives {(process id, local port): (stream, end)}."""
    ends = {}
    for stream in streams:
        client, server = connect(stream.flow.protocol)
        children = []
        for end, sock in (("client", client), ("server", server)):
            child = os.fork()
            if child == 0:
                lib.die_with_parent()
                (server if end == "client" else client).close()
                play_end(stream, sock, end == "client")
            ends[child, sock.getsockname()[1]] = stream, end
            children.append(child)
        client.close()
        server.close()
        for child in children:
            _, status = os.waitpid(child, 0)
            lib.check(status == 0, f"{stream.name} could not be played: status {status}")
    return ends


def infer_in_kernel(streams):
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-matrix-"))
    try:
        bench.producer("--ring-size", "65536")
        agent = bench.agent()
        ends = play(streams)
        wanted = sum(len(records) for stream in streams for records in stream.native.values())

        def arrived():
            return [record for record in agent.records()
                    if (record["process_id"], record["lport"]) in ends]
        try:
            lib.wait_until(lambda: len(arrived()) >= wanted, 10, f"{wanted} records")
        except lib.Failure:
            pass  # the comparison says which
        agent.finish()
        for record in sorted(arrived(), key=lambda record: record["cap_seq"]):
            stream, end = ends[record["process_id"], record["lport"]]
            stream.live[end].append(Record(
                record["direction"] == "send", record["syscall_len"],
                TAIL_NAMES[record["l7_protocol"]], TYPES.get(record["msg_type"], 0),
                bool(record["need_reconfirm"])))
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)


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
    faults = [f"called {NAMES[record.protocol]}" for record in records
              if record.protocol not in stream.truth][:1]
    if protocol == 0:
        faults.append("not recognised")
    return faults


def print_matrix(streams, attribute, title):
    table = collections.Counter()
    certain = collections.Counter()
    for stream in streams:
        for records in getattr(stream, attribute).values():
            protocol, is_certain = verdict(records)
            table[stream.folder, protocol] += 1
            certain[stream.folder] += is_certain
    print(f"\n{title}: ends of connections by what they were recognised as")
    print(f"  {'folder':10}" + "".join(f"{name:>8}" for name in NAMES.values()) + "   certain")
    for folder in sorted({stream.folder for stream in streams}):
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
    streams, faults = read_streams(options.folder)
    if not streams:
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
            infer_in_kernel(streams)
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
