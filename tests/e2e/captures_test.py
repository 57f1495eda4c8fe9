# SPDX-License-Identifier: Apache-2.0
"""scripts/matrix.py over captures that the test writes: the recorded traffic of real servers,
as files of every kind; decoys, damaged files, and folders that are named wrongly."""

import os
import subprocess
import sys

import trace_file
from lib import Skip, check, check_equal, main, program

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tools/infer"))
import capture_writer as writer  # noqa: E402
from capture_writer import LINKS, Conversation  # noqa: E402

DATA = os.path.join(HERE, "../data")
MATRIX = os.path.join(HERE, "../../scripts/matrix.py")
# Folder: the sample it is made of, and the ports of its servers.
SAMPLES = {"http1": ("http1", (6379,)), "HTTP2": ("http2", (3306,)), "mysql-8": ("mysql", (9092,)),
           "redis": ("redis", (53,)), "kafka": ("kafka", (6381,)), "dubbo": ("dubbo", (20880, 33060)),
           "dns": ("dns", (20880,)), "other": ("decoys", (80, 9093, 3307, 6380, 8080, 9095))}


def conversations(sample, ports):
    """Of each socket of a sample: (is TCP, messages (from the client?, bytes))."""
    records, _ = trace_file.read(os.path.join(DATA, f"{sample}.ebpfrec"))
    sockets = {}
    for record in sorted(records, key=lambda record: record.cap_seq):
        is_client = record.rport in ports
        from_client = is_client == (record.direction == trace_file.SENT)
        payload = record.payload.ljust(record.syscall_len, b"\0")
        sockets.setdefault(record.socket_id, (record.protocol == trace_file.TCP, []))[1].append(
            (from_client, payload))
    return list(sockets.values())


def packets_of(is_tcp, messages, number):
    """Every third one over IPv6. Messages stay whole, as the card gets them."""
    client, server = (("fd00::1", 40000 + number), ("fd00::2", 1234)) if number % 3 == 2 else \
        (("10.0.0.1", 40000 + number), ("10.0.0.2", 1234))
    if is_tcp:
        talk = Conversation(client, server, (0xFFFFFF00, 77), 60000)
        return list(talk.whole(messages))[3 if number % 2 else 0:]
    ip = writer.ipv6 if ":" in client[0] else writer.ipv4
    ends = (client, server)
    return [ip(source[0], target[0], writer.UDP, writer.udp(source[1], target[1], payload))
            for from_client, payload in messages
            for source, target in (ends if from_client else ends[::-1],)]


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def write_captures(folder):
    """Each conversation in a file, of another kind than the one before."""
    count = 0
    for name, (sample, ports) in SAMPLES.items():
        for is_tcp, messages in conversations(sample, ports):
            link, frame = list(LINKS.values())[count % len(LINKS)]
            frames = [frame(packet) for packet in packets_of(is_tcp, messages, count)]
            order = "<>"[count // 2 % 2]
            if count % 2:
                content = writer.section(order) + writer.interface(order, link) + \
                    b"".join(writer.packet(order, 0, one) for one in frames)
            else:
                content = writer.pcap(link, frames, order, nanoseconds=bool(count % 3))
            write(os.path.join(folder, name, "deeper" if count % 5 == 0 else ".",
                               f"{count}.{'pcapng' if count % 2 else 'pcap'}"), content)
            count += 1
    write(os.path.join(folder, "other", "README"), b"no capture")
    return count


def run_matrix(folder, *options):
    done = subprocess.run([sys.executable, MATRIX, folder, *options], capture_output=True, text=True,
                          errors="replace", timeout=100, check=False,
                          env={**os.environ, "EBPF_BIN": os.path.dirname(program("ebpf-infer"))})
    check("Traceback" not in done.stdout + done.stderr, done.stderr)
    return done.returncode, done.stdout + done.stderr


def recorded_traffic_is_told_apart(bench):
    count = write_captures(bench.path("pcaps"))
    code, said = run_matrix(bench.path("pcaps"))
    print(said)
    if code == 77:
        raise Skip(next(line for line in said.splitlines() if line.startswith("SKIP:"))[5:].strip())
    check_equal(code, 0, "exit code of matrix.py")
    check(f"\n{count} connections, 0 faults" in said, f"{count} connections")
    check_equal(said.count("certain\n"), 2, "tables, natively and in the kernel")


def what_is_wrong_is_told(bench):
    http = writer.pcap(1, map(writer.ethernet, Conversation().whole(
        [(True, b"GET / HTTP/1.1\r\n\r\n"), (False, b"HTTP/1.1 200 OK\r\n\r\n")])))
    mystery = writer.pcap(1, map(writer.ethernet, Conversation().whole(
        [(True, b"what is this?"), (False, b"nothing")])))
    for name, content, wanted_code, wanted in (
            ("other/http.pcap", http, 1, "called certainly HTTP/1"),
            ("redis/http.pcap", http, 1, "called HTTP/1"),
            ("redis/mystery.pcap", mystery, 1, "not recognised"),
            ("http/cut.pcap", http[:-5], 0, "cut off"),
            ("http/text.pcap", b"hello", 1, "which no capture does"),
            ("http/empty.pcap", b"", 1, "starts with nothing"),
            ("http/notes", b"hello", 1, "there must be folders")):
        folder = bench.path(name.replace("/", "-"))
        write(os.path.join(folder, name), content)
        code, said = run_matrix(folder, "--native")
        check_equal((code, wanted in said), (wanted_code, True), f"{name}: {wanted!r} in {said}")
    code, said = run_matrix(bench.path("nowhere"), "--native")
    check_equal((code, "SKIP:" in said), (77, True), said)


main(recorded_traffic_is_told_apart, what_is_wrong_is_told)
