# SPDX-License-Identifier: Apache-2.0
"""Records the traffic in tests/data that tests/unit/recorded_traffic_test.cpp runs through the
native inference: python3 tests/e2e/record_samples.py [NAME]...

Each file is what `ebpf-producer --record` wrote, cut down to the first records of some
sockets. Run it again when a server or the format of the file changes.
"""

import os
import sys

import decoys
import jvm
import lib
import matrix
import servers
import trace_file

DATA = os.path.join(os.path.dirname(__file__), "../data")
FILE_BYTES, RECORDS_PER_SOCKET = 46 * 1024, 16
# The server's port in the record says which side is which, and must stay what the test knows.
SAMPLES = {
    "http1": [(6379, "HTTP/1", servers.http1)],
    "http2": [(3306, "HTTP/2", servers.http2)],
    "mysql": [(9092, "MySQL", servers.mysql)],
    "redis": [(53, "Redis", servers.redis)],
    "dns": [(20880, "DNS", servers.dns)],
    "kafka": [(6381, "Kafka", jvm.kafka)],
    "dubbo": [(33060, "Dubbo", jvm.dubbo)],
    "decoys": [(80, "TLS", decoys.tls), (9093, "SSH", decoys.ssh),
               (3307, "PostgreSQL", decoys.postgresql), (6380, "memcached", decoys.memcached),
               (8080, "SMTP", decoys.smtp), (9095, "pickles", decoys.length_prefixed)],
}


def frames(content):
    """(bytes of the frame, record) of every record."""
    at = trace_file.HEADER.size
    while at + trace_file.FRAME.size <= len(content):
        size, _ = trace_file.FRAME.unpack_from(content, at)
        yield content[at:at + trace_file.FRAME.size + size]
        at += trace_file.FRAME.size + size


def select(path, ports):
    """The first records of sockets on these ports, as many sockets as fit, spread over all."""
    with open(path, "rb") as file:
        content = file.read()
    records, _ = trace_file.read(path)
    by_seq = {record.seq: record for record in records}
    sockets = {}
    for frame in frames(content):
        _, kind, _, seq = trace_file.HEAD.unpack_from(frame, trace_file.FRAME.size)
        record = by_seq.get(seq) if kind == trace_file.KIND_DATA else None
        ours = record and matrix.ADDRESSES & {record.laddr[:4], record.raddr[:4]}
        if ours and (record.lport in ports or record.rport in ports):
            sockets.setdefault((record.lport in ports and record.lport or record.rport,
                                record.socket_id), []).append((seq, frame))
    kept, room = [], FILE_BYTES
    by_port = {port: [found[:RECORDS_PER_SOCKET] for (at, _), found in sockets.items()
                      if at == port] for port in ports}
    turns = [by_port[port][at::7] for at in range(7) for port in ports]
    for group in turns:
        for chosen in group:
            size = sum(len(frame) for _, frame in chosen)
            if size <= room:
                kept += chosen
                room -= size
    return (content[:trace_file.HEADER.size] + b"".join(frame for _, frame in sorted(kept))
            + trace_file.end_frame(len(kept)))


def recorder(name):
    def record(bench):
        trace = bench.path("trace.ebpfrec")
        unknown = ["--capture-unknown"] if name == "decoys" else []
        producer = bench.producer("--perf-pages", "4096", "--cap-len", "256", "--record", trace,
                                  *unknown)
        matrix.run_traffic(bench, SAMPLES[name])
        lib.check_equal(producer.stop(), 0, "exit code of the producer")
        sample = select(trace, [port for port, _, _ in SAMPLES[name]])
        servers.write(f"{DATA}/{name}.ebpfrec", sample)
        print(f"  {name}: {len(sample)} bytes, {len(list(frames(sample)))} records")
    record.__name__ = f"records_{name}"
    return record


if __name__ == "__main__":
    matrix.ADDRESSES.add(jvm.DUBBO_ADDRESS)
    lib.enter_own_network()
    lib.main(*(recorder(name) for name in sys.argv[1:] or SAMPLES))
