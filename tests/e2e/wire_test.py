# SPDX-License-Identifier: Apache-2.0
"""tcpdump beside us: every record holds the bytes that the wire holds at its sequence number,
and together the records cover every byte on the wire."""

import json
import os
import time

import pcap
import servers
import trace_file
from lib import Failure, check, check_equal, enter_own_network, foreign, main, program, wait_until

RECORDS_WANTED = 100_000
SCALE = 10
CAP_LEN, CAP_LEN_MAX = 512, 16384
FILE_BYTES = 3 << 20
# Room for all of the traffic, as far as memory is no matter: a busy machine may let the producer
# wait for long. 256 MiB together, 32 MiB for each CPU at least.
PERF_PAGES = str(max(8192, 65536 >> (max(os.cpu_count(), 1) - 1).bit_length()))


def start_tcpdump(bench, path):
    tcpdump = bench.start("tcpdump", [foreign("tcpdump"), "-i", "lo", "-B", "262144", "-Z", "root",
                                      "-n", "-s", "0", "-w", path, "tcp"])
    wait_until(lambda: "listening on" in tcpdump.stderr() or not tcpdump.running(), 10,
               "tcpdump listens")
    check(tcpdump.running(), f"tcpdump ended: {tcpdump.stderr()}")
    return tcpdump


def stop_tcpdump(tcpdump, path):
    """The kernel hands packets over in blocks, at the latest after a second."""
    size, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < 1.3:
        now = os.path.getsize(path)
        if now != size:
            size, quiet_since = now, time.monotonic()
        time.sleep(0.05)
    check_equal(tcpdump.stop(), 0, "exit code of tcpdump")
    check("\n0 packets dropped by kernel" in tcpdump.stderr(), tcpdump.stderr())


def key_of(record):
    """The stream that a record belongs to, as the capture names it."""
    size = 4 if record.addr_len == 4 else 16
    local = (record.laddr[:size], record.lport)
    remote = (record.raddr[:size], record.rport)
    return (local, remote) if record.direction == trace_file.SENT else (remote, local)


def check_records(records, stream, what, cap_len):
    """One side's records of a stream, in their order: right bytes, nothing left out."""
    at = 0
    for record in records:
        position = stream.offset(record.tcp_seq, at)
        on_the_wire = stream.bytes[at:at + record.cap_len]
        if position != at:
            raise Failure(f"{what}: {position - at} bytes between the record before and "
                          f"{trace_file.brief(record)}")
        if record.cap_len != min(record.syscall_len, cap_len):
            raise Failure(f"{what}: cap_len {record.cap_len} of {trace_file.brief(record)}")
        if record.payload != on_the_wire:
            raise Failure(f"{what}: the wire holds {bytes(on_the_wire[:40])!r} at the place of "
                          f"{trace_file.brief(record)}")
        at += record.syscall_len
    check_equal(at, len(stream.bytes), f"{what}: bytes in its records")


def check_cap_seq(records):
    """The records of each socket count from 0, without a hole."""
    sockets = {}
    for record in records:
        sockets.setdefault(record.socket_id, []).append(record.cap_seq)
    for socket_id, numbers in sockets.items():
        check(numbers == list(range(len(numbers))), f"cap_seq of socket {socket_id}: "
              f"{numbers[:20]}")
    return len(sockets)


def compare(bench, cap_len, scale):
    """Runs the traffic and compares; gives how many records it were."""
    enter_own_network()
    capture, trace = bench.path("wire.pcap"), bench.path("wire.ebpfrec")
    producer = bench.producer("--perf-pages", PERF_PAGES, "--record", trace,
                              "--cap-len", str(cap_len))
    tcpdump = start_tcpdump(bench, capture)
    done = bench.run([program("ebpf-traffic"), "wire", str(scale)])
    said = json.loads(done.stdout)
    stop_tcpdump(tcpdump, capture)
    check_equal(producer.stop(), 0, "exit code of the producer")

    streams = pcap.tcp_streams(capture)
    records, gaps = trace_file.read(trace)
    check_equal(gaps, [], "gaps in the trace")
    flows = {flow["port"]: f"{flow['name']} over IPv{flow['ip']}" for flow in said["flows"]}
    sides = {(key, end): [] for key in streams for end in (trace_file.SENT, trace_file.RECEIVED)}
    mine = [record for record in records if record.process_id == said["process_id"]]
    for record in mine:
        side = (key_of(record), record.direction)
        if side not in sides:
            raise Failure(f"no such stream on the wire: {trace_file.brief(record)}")
        sides[side].append(record)
    check_equal(check_cap_seq(mine), len(streams), "sockets")
    counts = dict.fromkeys(flows.values(), 0)
    for (key, direction), found in sides.items():
        (_, sport), (_, dport) = key
        name = flows[sport if sport in flows else dport]
        stream = streams[key]
        check(stream.whole(), f"{name}: {sport} -> {dport} was captured whole")
        check_records(found, stream, f"{name}, {sport} -> {dport}, "
                                     f"{'receiver' if direction else 'sender'}", cap_len)
        counts[name] += len(found)
    over_the_end = [key for key, stream in streams.items()
                    if stream.first_seq + len(stream.bytes) > pcap.WRAP]
    check(len(over_the_end) >= 2, "streams go over the end of the sequence numbers")
    for name, count in counts.items():
        print(f"  {name:24} {count:7} records")
    print(f"  {'together':24} {len(mine):7} records, {len(streams)} streams, "
          f"{sum(len(stream.bytes) for stream in streams.values()) / 1e6:.1f} MB on the wire, "
          f"{len(over_the_end)} of them over the end of the sequence numbers, "
          f"{sum(record.cap_len for record in mine) / 1e6:.1f} MB captured")
    return len(mine)


def every_record_is_what_the_wire_carried(bench):
    count = compare(bench, CAP_LEN, SCALE)
    check(count >= RECORDS_WANTED, f"{count} records, fewer than {RECORDS_WANTED}")


def and_so_it_is_with_the_largest_captures(bench):
    compare(bench, CAP_LEN_MAX, 1)


def what_sendfile_sent_has_its_place(bench):
    """nginx sends files without their ever being in its memory: records of the length alone."""
    enter_own_network()
    capture, trace = bench.path("wire.pcap"), bench.path("wire.ebpfrec")
    producer = bench.producer("--perf-pages", PERF_PAGES, "--record", trace)
    port = 8088
    server = servers.start_nginx(bench, port, server_lines="    location /sent { sendfile on; "
                                 f"alias {bench.path('nginx')}/files/sent; }}\n")
    servers.write(bench.path("nginx/files/sent"), os.urandom(FILE_BYTES))
    tcpdump = start_tcpdump(bench, capture)
    url = f"http://{servers.HOST}:{port}/sent"
    servers.curl(bench, url, url, url)
    server.stop()
    stop_tcpdump(tcpdump, capture)
    check_equal(producer.stop(), 0, "exit code of the producer")
    records, gaps = trace_file.read(trace)
    check_equal(gaps, [], "gaps in the trace")
    [answers] = [stream for (source, _), stream in pcap.tcp_streams(capture).items()
                 if source[1] == port]
    at, without_bytes = 0, 0
    for record in records:
        if record.lport != port or record.direction != trace_file.SENT:
            continue
        check_equal(answers.offset(record.tcp_seq, at), at, f"place of {trace_file.brief(record)}")
        if record.cap_len == 0:
            without_bytes += record.syscall_len
        else:
            check_equal(record.payload, bytes(answers.bytes[at:at + record.cap_len]),
                        f"bytes of {trace_file.brief(record)}")
        at += record.syscall_len
    check_equal(at, len(answers.bytes), "bytes in the records of the server")
    check_equal(without_bytes, 3 * FILE_BYTES, "bytes that sendfile sent")


main(every_record_is_what_the_wire_carried, and_so_it_is_with_the_largest_captures,
     what_sendfile_sent_has_its_place)
