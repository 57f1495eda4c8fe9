#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The first look: one producer, agents in C++ and Rust on the same ring, real traffic.

Exit code 0: both agents saw the same records, and all that the traffic did is among them.
Where the kernel refuses BPF it says so, and plays a recorded trace the same way.

  scripts/demo.py [--record FILE]     --record: also write what a replay needs: FILE and FILE.json
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))
sys.dont_write_bytecode = True

import lib  # noqa: E402
from smoke_check import check_smoke  # noqa: E402

DATA = os.path.normpath(os.path.join(HERE, "../tests/data/demo.ebpfrec"))
LINES_SHOWN = 12
COLUMNS_SHOWN = 180
# name of an agent: (program, output)
AGENTS = {"cpp-text": ("ebpf-tail", "text"), "rust-text": ("ebpf-tail-rs", "text"),
          "cpp-json": ("ebpf-tail", "json"), "rust-json": ("ebpf-tail-rs", "json")}


class Refused(Exception):
    """The kernel, or this user's privileges, do not allow BPF; the text says what is missing."""


def say(text=""):
    print(text, flush=True)


def step(text):
    say(f"\n== {text}")


def start_producer(bench, *options):
    producer = bench.producer(*options, wait=False)
    try:
        producer.wait_ready()
    except lib.Skip:
        raise Refused(producer.stderr().strip()) from None
    return producer


def start_agents(bench):
    agents = {}
    for name, (program, output) in AGENTS.items():
        agents[name] = bench.start(name, [lib.program(program), "-o", output, "--socket",
                                          bench.socket, "--from", "oldest"])
    say(f"   {len(agents)} agents attach to the same ring: ebpf-tail (C++) and ebpf-tail-rs "
        "(Rust), each as text and as JSON")
    return agents


def wait_attached(bench, agents):
    def all_there():
        for name, agent in agents.items():
            lib.check(agent.running(), f"agent {name} ended: {agent.stderr().strip()}")
        return bench.ctl("tracer", "show")["consumer_count"] >= len(agents)
    lib.wait_until(all_there, 10, "all agents attach")


def nginx_traffic(bench):
    """curl against nginx, where both are installed."""
    try:
        curl = lib.foreign("curl")
        _, port = bench.nginx()
    except lib.Skip as missing:
        say(f"   nginx and curl are left out: {missing}")
        return
    bench.run([curl, "-sS", "--noproxy", "*", "-o", "/dev/null",
               f"http://127.0.0.1:{port}/page/[1-3]"])
    say("   curl got 3 pages of nginx, over one connection")


def make_traffic(bench):
    nginx_traffic(bench)
    report = bench.smoke(2)
    families = "IPv4 and IPv6" if report["ipv6"] else "IPv4 (there is no IPv6 here)"
    say(f"   ebpf-traffic sent {len(report['flows']) * report['exchanges']} HTTP and DNS requests "
        f"over {families}, with read/write, recv/send, recvmsg/sendmsg and readv/writev")
    return report


def lines_of(agent):
    """Records that an agent printed so far, one line each; gap notices are told apart."""
    text = agent.stdout()
    lines = text[:text.rfind("\n") + 1].splitlines()
    return [line for line in lines if not line.startswith(('{"gap"', "-- gap:"))]


def wait_settled(bench, agents):
    """Until every agent has printed every record that was published."""
    last = [0]

    def settled():
        published = bench.ctl("tracer", "show")["user_enqueue_count"]
        stable, last[0] = published == last[0], published
        return stable and published and all(
            len(lines_of(agent)) == published for agent in agents.values())
    try:
        lib.wait_until(settled, 10, "every agent prints every record")
    except lib.Failure:
        say("   note: the agents do not all have every record that was published")


def selection(lines):
    """The first line of each program, direction, protocol and kind: short, and of everything."""
    seen, chosen = set(), []
    for line in lines:
        words = line.split(" ")
        key = (words[1].split("[")[0], *words[5:8])
        if key not in seen:
            seen.add(key)
            chosen.append(line)
    return chosen[:LINES_SHOWN]


def show_output(agents):
    for name, title in (("cpp-text", "ebpf-tail (C++)"), ("rust-text", "ebpf-tail-rs (Rust)")):
        lines = lines_of(agents[name])
        chosen = selection(lines)
        say(f"\n-- {title}: {len(chosen)} of its {len(lines)} records, the first of each kind")
        for line in chosen:
            say("   " + (line if len(line) <= COLUMNS_SHOWN else line[:COLUMNS_SHOWN] + "…"))


def compare(agents):
    """Whether the agents saw the same: line by line, as text and as JSON."""
    same = True
    for output in ("text", "json"):
        cpp, rust = lines_of(agents[f"cpp-{output}"]), lines_of(agents[f"rust-{output}"])
        if cpp == rust:
            say(f"   {len(cpp)} records as {output}: the same in both agents, in the same order")
            continue
        same = False
        at = next((i for i, (one, other) in enumerate(zip(cpp, rust)) if one != other),
                  min(len(cpp), len(rust)))
        say(f"   as {output} they differ: {len(cpp)} records in C++, {len(rust)} in Rust; "
            f"the first difference is at record {at + 1}:")
        for name, lines in (("C++ ", cpp), ("Rust", rust)):
            say(f"   {name}: {lines[at] if at < len(lines) else '(nothing)'}")
    return same


def check_traffic(agents, report):
    """Whether what the traffic did was captured, every field."""
    records = [json.loads(line) for line in lines_of(agents["cpp-json"])]
    problems, captured, expected = check_smoke(report, records)
    for kind in sorted({key.rsplit(" ", 2)[0] for key in expected}):
        def total(table, kind=kind):
            return sum(count for key, count in table.items() if key.startswith(kind))
        say(f"   {kind}: {total(captured)} of the {total(expected)} system calls of ebpf-traffic "
            "were captured")
    for problem in problems[:10]:
        say(f"   not as it must be: {problem}")
    return not problems


def stop_all(bench, agents, producer):
    for name, agent in agents.items():
        code = agent.stop(signal.SIGINT)
        lib.check(code == 0, f"agent {name} ended with exit code {code}: {agent.stderr().strip()}")
    code = producer.stop(signal.SIGINT)
    lib.check(code == 0, f"the producer ended with exit code {code}: {producer.stderr().strip()}")
    left = [name for name in os.listdir(bench.folder) if name.startswith("producer.sock")]
    lib.check(not left, f"the producer left files behind: {left}")


def live(bench, record):
    step("1. The producer loads its BPF programs and opens the ring")
    producer = start_producer(bench, *(["--record", record] if record else []))
    say(f"   {producer.stdout().strip()}")
    step("2. Agents attach")
    agents = start_agents(bench)
    wait_attached(bench, agents)
    step("3. Programs that know nothing of this talk to each other")
    report = make_traffic(bench)
    time.sleep(0.3)
    bench.run_ctl("tracer", "stop")
    return producer, agents, report


def replay(bench):
    lib.check(os.path.exists(DATA), f"the recorded trace is missing: {DATA}")
    step("1. The producer plays a recorded trace instead: the same way from there on")
    producer = start_producer(bench, "--replay", DATA, "--speed", "0", "--wait-consumers",
                              str(len(AGENTS)), "--linger", "20")
    say(f"   {producer.stdout().strip()}")
    step("2. Agents attach")
    agents = start_agents(bench)
    step("3. The trace is played when all of them are there")
    with open(DATA + ".json", encoding="utf-8") as file:
        return producer, agents, json.load(file)


def run(bench, record):
    try:
        producer, agents, report = live(bench, record)
    except Refused as reason:
        say("   this kernel, or this user, cannot trace:")
        for line in str(reason).splitlines():
            say(f"   {line}")
        producer, agents, report = replay(bench)
    wait_settled(bench, agents)
    step("4. What the agents print")
    show_output(agents)
    step("5. What the tracer says of itself (ebpfctl tracer show)")
    shown = bench.run([lib.program("ebpfctl"), "--socket", bench.socket, "tracer", "show"])
    for line in shown.stdout.rstrip().splitlines():
        say("   " + line)
    step("6. Everything stops; did both agents see the same, and all of it?")
    stop_all(bench, agents, producer)
    same = compare(agents)
    complete = check_traffic(agents, report)
    if record:
        os.chmod(record, 0o644)
        with open(record + ".json", "w", encoding="utf-8") as file:
            json.dump(report, file)
            file.write("\n")
    return same and complete


def on_terminate(_number, _frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", metavar="FILE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, on_terminate)
    started = time.monotonic()
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-demo-"))
    good = False
    try:
        good = run(bench, options.record)
    except KeyboardInterrupt:
        say("\ninterrupted; stopping everything")
        return 130
    except (lib.Failure, lib.Skip, OSError, ValueError, subprocess.TimeoutExpired) as error:
        say(f"\n   {error}")
        bench.show()
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)
    verdict = "it works" if good else "FAILED"
    say(f"\ndemo: {verdict} ({time.monotonic() - started:.1f} s)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
