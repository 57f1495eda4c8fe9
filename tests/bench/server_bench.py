#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tracing costs real servers under load: untraced, with ours, bpftrace and tcpdump.

Rounds of all of them take turns. docs/BENCHMARKS.md says how to read the figures.

    server_bench.py [--only NAME]... [--rounds N] [--seconds N] [--rate N] [--quick] --json FILE
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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lib  # noqa: E402
import server_load  # noqa: E402
import server_report  # noqa: E402
import server_tracers  # noqa: E402
import server_workloads  # noqa: E402

LOADS = LIMITED, FULL = "limited", "flat out"
FLAT_OUT = ("untraced", "1 consumer", "bpftrace")
HALF = 0.5
ENOUGH = 0.999  # of the records that must be there


def busy_ns():
    """CPU time of the machine, all CPUs together, whoever used it."""
    with open("/proc/stat", encoding="ascii") as file:
        values = [int(value) for value in file.readline().split()[1:9]]
    idle = values[3] + values[4]
    tick_ns = 1e9 / os.sysconf("SC_CLK_TCK")
    return time.monotonic_ns() * os.cpu_count() - idle * tick_ns


def calibrate(bench, workload, server):
    """Requests per second at which server and client use half of the machine, untraced; and what
    flat out gives. What else runs on the machine does not matter."""
    seconds = 0.5
    most = server_load.generator(bench, workload, 0, seconds, lambda: None)["requests_per_s"]
    rate = most * HALF
    for _ in range(3):
        watch = Stopwatch(server_tracers.Untraced(), server)
        figures = server_load.generator(bench, workload, rate, seconds, watch.begin)
        spent_us = (figures["client_us"]
                    + watch.per_request_us(figures["requests"])["server_us"])
        used = spent_us * figures["requests_per_s"] / 1e6 / os.cpu_count()
        rate = min(rate * HALF / max(used, 0.05), 0.95 * most)
    return round(rate, -2), round(most)


class Stopwatch:
    """CPU time by role, from begin() until end()."""

    def __init__(self, tracer, server):
        self.tracer, self.server = tracer, server
        self.before = None

    def _now(self):
        return {"server": server_tracers.cpu_ns(self.server.pid), **self.tracer.cpu_ns()}

    def begin(self):
        self.before = self._now() | {"machine": busy_ns()}

    def per_request_us(self, requests):
        """The tracer's counts until it has done all its work; the machine's until the load ends,
        for asking the tracer costs time, too."""
        after = {"machine": busy_ns()}
        self.tracer.settle()
        after |= self._now()
        return {f"{role}_us": (after[role] - self.before[role]) / 1000 / requests
                for role in after}


def expected_records(tracer, workload, figures):
    """What the calls of this load must have become, at least."""
    server = workload.server_records * figures["requests"]
    if isinstance(tracer, server_tracers.Ours) and tracer.server_only:
        return server
    client = figures.get("sends", 0) + figures.get("receives", 0)
    return server + (client or 2 * figures["requests"] / workload.batch)


def measure(bench, workload, server, tracer, load, settings):
    """One load under one tracer."""
    watch = Stopwatch(tracer, server)
    tracer.begin()
    if load == LIMITED:
        figures = server_load.generator(bench, workload, settings["rates"][workload.name],
                                        settings["seconds"], watch.begin)
    else:
        figures = workload.flat_out(bench, settings["seconds"], watch.begin)
    figures |= watch.per_request_us(figures["requests"])
    account = tracer.end()
    figures["lost"] = account.get("lost", {})
    figures["lost_in_all"] = sum(figures["lost"].values())
    for kind in ("captured", "packets"):
        if kind in account:
            figures[f"{kind}_per_request"] = account[kind] / figures["requests"]
    if "captured" in account:
        figures["expected_per_request"] = (expected_records(tracer, workload, figures)
                                           / figures["requests"])
        figures["complete"] = (figures["captured_per_request"]
                               >= ENOUGH * figures["expected_per_request"])
    return figures


def round_of(bench, workload, server, tracers, settings, rows, failures):
    """All tracers in turn."""
    for tracer in tracers:
        if (LIMITED, tracer.name) in failures:
            continue
        try:
            tracer.start(bench, workload, server)
            for load in LOADS:
                if load == FULL and (tracer.name not in settings["flat_out"]
                                     or (FULL, "all") in failures):
                    continue
                figures = measure(bench, workload, server, tracer, load, settings)
                rows.append({"workload": workload.name, "load": load, "mode": tracer.name,
                             **figures})
            tracer.stop()
        except (lib.Skip, lib.Failure) as reason:
            if tracer.ours or tracer.name == "untraced":
                raise
            if tracer.process and tracer.process.running():
                tracer.process.stop(signal.SIGKILL)
            failures[LIMITED, tracer.name] = str(reason)


def end_server(server):
    """It has done its work: one that takes its time to end is not waited for."""
    server.send_signal(signal.SIGTERM)
    try:
        server.popen.wait(5)
    except subprocess.TimeoutExpired:
        server.popen.kill()
        server.popen.wait()


def run_workload(bench, workload, options, settings):
    """All rounds of one workload."""
    rows, failures = [], {}
    server = workload.start(bench)
    if workload.client and settings["flat_out"]:
        try:
            lib.foreign(workload.client)
        except lib.Skip as reason:
            failures[FULL, "all"] = str(reason)
    if options.rate:
        rate, most = options.rate, None
    else:
        rate, most = calibrate(bench, workload, server)
    settings["rates"][workload.name] = rate
    tracers = [one for one in server_tracers.all_tracers(options.producer.split())
               if not options.mode or one.name in options.mode]
    for number in range(options.rounds):
        # Whoever comes first finds the machine as the one before left it: not always the same.
        shift = number % len(tracers)
        round_of(bench, workload, server, tracers[shift:] + tracers[:shift], settings, rows,
                 failures)
    end_server(server)
    return server_report.workload_part(workload, settings, most, rows, failures)


def parse(arguments):
    parser = argparse.ArgumentParser(description="What tracing costs real servers under load")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    parser.add_argument("--only", action="append", choices=list(server_workloads.WORKLOADS),
                        help="this workload; several times for several")
    parser.add_argument("--mode", action="append", help="this way of tracing (and untraced)",
                        choices=[one.name for one in server_tracers.all_tracers()])
    parser.add_argument("--keep", action="store_true",
                        help="keep the workloads in FILE that this run does not measure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each load")
    parser.add_argument("--rate", type=float, default=0,
                        help="requests per second, limited; without it: half of the machine")
    parser.add_argument("--flat-out", choices=("none", "some", "all"), default="some",
                        help="which ways of tracing are tried flat out, too")
    parser.add_argument("--producer", default="", help="options of the producer")
    parser.add_argument("--quick", action="store_true",
                        help="a round of two workloads, for the test suite: measures little")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.rate = 1, 0.3, 500
        options.flat_out = "none"
        options.only = options.only or ["nginx", "redis"]
        options.mode = options.mode or ["1 consumer", "server only", "tcpdump"]
    if options.mode:
        options.mode.append("untraced")
    return options


def run(bench, options):
    names = [tracer.name for tracer in server_tracers.all_tracers()]
    flat_out = {"none": [], "some": list(FLAT_OUT), "all": names}[options.flat_out]
    settings = {"rounds": options.rounds, "seconds": options.seconds, "rates": {},
                "producer": options.producer or "defaults",
                "flat_out": flat_out}
    about = server_report.machine()
    parts = []
    for name in dict.fromkeys(options.only or server_workloads.WORKLOADS):
        workload = server_workloads.WORKLOADS[name]
        began = time.monotonic()
        try:
            parts.append(run_workload(bench, workload, options, settings))
        except lib.Skip as reason:
            parts.append({"workload": name, "title": workload.title, "failure": str(reason)})
        server_report.print_workload(parts[-1])
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return server_report.document(parts, settings, about)


def write(path, document):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)
    print(f"written to {path}")


def main():
    options = parse(sys.argv[1:])
    if os.geteuid() != 0:
        print("SKIP: needs root")
        return 77
    lib.mount_tracefs()
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-bench-"))
    try:
        lib.enter_own_network()
        document = run(bench, options)
    except lib.Skip as reason:
        print(f"SKIP: {reason}")
        return 77
    except lib.Failure as failure:
        bench.show()
        print(f"FAILED: {failure}")
        return 1
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)
    if options.json and options.keep and os.path.exists(options.json):
        with open(options.json, encoding="utf-8") as file:
            document = server_report.merged(json.load(file), document)
    server_report.print_figures(document)
    if options.json:
        write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
