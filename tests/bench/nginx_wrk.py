#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tracing costs an nginx under wrk: requests per second, latency, CPU per request of
nginx, wrk and the producer, untraced and with 0, 1 and 4 consumers, at a limited rate and flat
out. Rounds of all of them take turns; shown are medians, with the least and the most.

    nginx_wrk.py [--rounds N] [--seconds N] [--rate N] [--quick] OUTPUT.json
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import shutil
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lib  # noqa: E402
import servers  # noqa: E402

PORT = 8080
CONNECTIONS, THREADS = 50, 2
CONSUMERS = {"untraced": None, "0 consumers": 0, "1 consumer": 1, "4 consumers": 4}
NS_PER_UNIT = {"us": 1e3, "ms": 1e6, "s": 1e9}
COLUMNS = ("requests_per_s", "p50_us", "p99_us", "nginx_us", "wrk_us", "producer_us", "lost")


def cpu_ns(pid):
    """CPU time of all threads of a process and of the processes below it, as the scheduler has it."""
    spent = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                spent += int(file.read().split()[0])
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                spent += sum(cpu_ns(child) for child in file.read().split())
    except FileNotFoundError:
        pass  # it ended meanwhile
    return spent


def run_wrk(bench, seconds, rate):
    """One run; its CPU time by resource usage, for it is gone afterwards."""
    script = bench.path("rate.lua")
    pause_ms = 1000 * CONNECTIONS / rate if rate else 0
    servers.write(script, f"function delay() return {pause_ms:.0f} end\n" if rate else "")
    before = os.times()
    done = bench.run([lib.foreign("wrk"), f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s",
                      "--latency", "-s", script, f"http://{servers.HOST}:{PORT}/echo"],
                     seconds=60 + 4 * seconds)
    after = os.times()
    said = done.stdout

    def latency_us(percent):
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", said).groups()
        return float(value) * NS_PER_UNIT[unit] / 1000
    requests = int(re.search(r"(\d+) requests in", said).group(1))
    lib.check(requests > 0, f"wrk made no request: {said}")
    wrk_s = (after.children_user + after.children_system
             - before.children_user - before.children_system)
    return {"requests": requests, "wrk_us": wrk_s * 1e6 / requests,
            "requests_per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)),
            "p50_us": latency_us(50), "p99_us": latency_us(99)}


def lost_of(stats):
    """What the producer's figures say was lost before the ring."""
    return sum(stats[name] for name in ("kern_lost", "kern_skipped", "kern_socket_map_full",
                                        "user_enqueue_lost", "bad_events"))


def measure(bench, nginx, consumers, seconds, rate, options):
    """One round: figures per request."""
    producer = None
    if consumers is not None:
        producer = bench.producer(*options)
        # They read every record and print none: nobody has this process id.
        agents = [bench.agent("c++", "--pid", "4194304", "--from", "tail", name=f"agent-{number}")
                  for number in range(consumers)]
    before = cpu_ns(nginx.pid), cpu_ns(producer.pid) if producer else 0
    figures = run_wrk(bench, seconds, rate)
    after = cpu_ns(nginx.pid), cpu_ns(producer.pid) if producer else 0
    figures["nginx_us"] = (after[0] - before[0]) / 1000 / figures["requests"]
    figures["producer_us"] = (after[1] - before[1]) / 1000 / figures["requests"]
    figures["lost"] = 0
    if producer:
        figures["lost"] = lost_of(bench.ctl("tracer", "show"))
        for agent in agents:
            lib.check_equal(agent.stop(), 0, f"exit code of {agent.name}: {agent.stderr()}")
            figures["lost"] += int(re.search(r"(\d+) lost,", agent.stderr()).group(1))
        lib.check_equal(producer.stop(), 0, "exit code of the producer")
    return figures


def version_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = re.findall(r"model name\s*: (.*)", file.read())
    return {"cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count(),
            "kernel": platform.release(), "load": os.getloadavg()[0],
            "nginx": version_of(lib.foreign("nginx"), "-v"),
            "wrk": version_of(lib.foreign("wrk"), "-v"),
            "libebpf": version_of(lib.program("ebpf-producer"), "--version")}


def summary(rows):
    """By load and mode: {figure: [median, least, most]}."""
    table = {}
    for row in rows:
        table.setdefault((row["load"], row["mode"]), []).append(row)
    return [{"load": load, "mode": mode, "rounds": len(group),
             **{name: [round(value, 3) for value in
                       (statistics.median(row[name] for row in group),
                        min(row[name] for row in group), max(row[name] for row in group))]
                for name in COLUMNS}} for (load, mode), group in table.items()]


def print_table(lines):
    print(f"{'load':12}{'mode':13}{'requests/s':>20}{'p50 us':>9}{'p99 us':>9}"
          f"{'nginx us':>18}{'wrk us':>8}{'producer us':>13}{'added us':>10}{'lost':>7}")
    untraced = {line["load"]: line for line in lines if line["mode"] == "untraced"}
    for line in lines:
        base = untraced[line["load"]]
        added = sum(line[name][0] - base[name][0] for name in ("nginx_us", "wrk_us", "producer_us"))
        rate, nginx = line["requests_per_s"], line["nginx_us"]
        print(f"{line['load']:12}{line['mode']:13}"
              f"{rate[0]:9.0f} ({rate[1]:.0f}-{rate[2]:.0f})".ljust(46) +
              f"{line['p50_us'][0]:8.0f}{line['p99_us'][0]:9.0f}"
              f"{nginx[0]:8.2f} ({nginx[1]:.2f}-{nginx[2]:.2f})"
              f"{line['wrk_us'][0]:8.2f}{line['producer_us'][0]:13.2f}{added:10.2f}"
              f"{line['lost'][2]:7.0f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=5000, help="requests per second, limited")
    parser.add_argument("--quick", action="store_true", help="one round of a second")
    parser.add_argument("--producer", default="", help="options of the producer")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.rate = 1, 1, 1000
    if os.geteuid() != 0:
        print("SKIP: needs root")
        return 77
    lib.mount_tracefs()
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-bench-"))
    rows = []
    try:
        lib.enter_own_network()
        nginx = servers.start_nginx(bench, PORT)
        for number in range(options.rounds):
            for load, rate in (("limited", options.rate), ("flat out", 0)):
                for mode, consumers in CONSUMERS.items():
                    figures = measure(bench, nginx, consumers, options.seconds, rate,
                                      options.producer.split())
                    rows.append({"round": number, "load": load, "mode": mode, **figures})
    except lib.Skip as reason:
        print(f"SKIP: {reason}")
        return 77
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)
    lines = summary(rows)
    print_table(lines)
    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump({"schema_version": 1, "machine": machine(), "connections": CONNECTIONS,
                   "rate": options.rate, "seconds": options.seconds, "figures": lines,
                   "rounds": rows, "time": int(time.time())}, file, indent=1)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
