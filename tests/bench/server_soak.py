#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All workloads of the server benches at once, for a minute, with four agents of different kinds;
every account is checked, during the load and after it.

    server_soak.py [--seconds N] [--share N] [--producer OPTIONS]
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lib  # noqa: E402
import server_load  # noqa: E402
import server_tracers  # noqa: E402
import server_workloads  # noqa: E402

# Requests per second of each, all together about a machine of two CPUs; --share scales them.
RATES = {"nginx": 4000, "nginx-16k": 2000, "nginx-1000": 4000, "redis": 4000, "redis-p16": 48000,
         "mysql": 1500, "dns": 4000}
STOP_S = 0.5  # one agent in two is stopped so long, and runs as long
STAGES = ("kern_lost", "user_enqueue_lost", "bad_events")


class Load(threading.Thread):
    """One workload's client, for as long as the soak lasts."""

    def __init__(self, bench, workload, rate, seconds, barrier):
        super().__init__(name=workload.name)
        self.arguments = (bench, workload, rate, seconds, barrier.wait)
        self.barrier = barrier
        self.figures = self.error = None

    def run(self):
        try:
            self.figures = server_load.generator(*self.arguments)
        except Exception as error:  # pylint: disable=broad-except  told by the main thread
            self.error = error
            self.barrier.abort()


def start_servers(bench, only):
    """Each on a port of its own."""
    workloads = [one for name, one in server_workloads.WORKLOADS.items()
                 if not only or name in only]
    for number, workload in enumerate(workloads):
        workload.port = server_workloads.PORT + number
        workload.start(bench)
    return workloads


class Agents:
    """One that filters all, one that prints all, one that is stopped and continued, and one that
    leaves and comes back."""

    def __init__(self, bench):
        self.bench = bench
        self.reader = self._start("reader", "--pid", server_tracers.NOBODY)
        self.printer = self._start("printer")
        self.stopped = self._start("stopped", "--pid", server_tracers.NOBODY)
        self.guest = self._start("guest", "--pid", server_tracers.NOBODY)
        self.left = []
        self.is_stopped = False
        self.turns = 0

    def _start(self, name, *options):
        command = [lib.program("ebpf-tail"), "-o", "text", "--socket", self.bench.socket,
                   "--from", "tail", *options]
        agent = lib.Agent(name, ["sh", "-c", 'exec "$@" >/dev/null', "sh", *command],
                          self.bench.folder)
        self.bench.processes.append(agent)
        agent.wait_attached(self.bench)
        return agent

    def turn(self):
        self.turns += 1
        self.is_stopped = not self.is_stopped
        self.stopped.send_signal(signal.SIGSTOP if self.is_stopped else signal.SIGCONT)
        if self.turns % 4 == 0:
            self.left.append(account_of(self.guest))
            self.guest = self._start("guest", "--pid", server_tracers.NOBODY)

    def finish(self):
        if self.is_stopped:
            self.turn()

    def all(self):
        return [self.reader, self.printer, self.stopped, self.guest]


def account_of(agent):
    """What it says at its end, checked."""
    lib.check_equal(agent.stop(), 0, f"exit code of {agent.name}: {agent.stderr()[-500:]}")
    account = {word: int(count) for count, word in
               re.findall(r"(\d+) (published|delivered|filtered|lost|unread)\b", agent.stderr())}
    check_consumer(agent.name, account, account["lost"])
    return account


def check_consumer(name, row, lost):
    lib.check_equal(row["delivered"] + row["filtered"] + lost + row["unread"], row["published"],
                    f"account of {name}: published since it joined")


def check_running(bench, pids):
    """At any moment: each agent's account is exact; the producer's counters only grow."""
    state = bench.ctl("loss", "show")
    for row in state["consumers"]:
        check_consumer(pids.get(row["pid"], row["pid"]), row, row["lost"]["lapped"])
    return state["events"]["published"]


def check_end(bench):
    """All that was emitted is published or lost at a stage that has a name."""
    def settled():
        now = bench.ctl("tracer", "show")
        accounted = now["user_enqueue_count"] + sum(now[stage] for stage in STAGES)
        return now if accounted == now["kern_emitted"] else None
    return lib.wait_until(settled, 5, "emitted = published + lost")


def soak(bench, options):
    producer = bench.producer(*options.producer.split())
    workloads = start_servers(bench, options.only)
    agents = Agents(bench)
    barrier = threading.Barrier(len(workloads) + 1)
    loads = [Load(bench, one, RATES[one.name] * options.share, options.seconds, barrier)
             for one in workloads]
    for load in loads:
        load.start()
    begun = bench.ctl("tracer", "show")
    try:
        barrier.wait(60)
    except threading.BrokenBarrierError:
        raise next((load.error for load in loads if load.error),
                   lib.Failure("not all clients are ready in time")) from None
    published = checks = 0
    spent = -server_tracers.cpu_ns(producer.pid)
    while any(load.is_alive() for load in loads):
        time.sleep(STOP_S)
        agents.turn()
        now = check_running(bench, {agent.pid: agent.name for agent in agents.all()})
        lib.check(now >= published, f"published fell from {published} to {now}")
        published = now
        checks += 1
    agents.finish()
    end = check_end(bench)
    spent += server_tracers.cpu_ns(producer.pid)
    print_loads(loads)
    check_captured(loads, workloads, begun, end)
    print(f"\n{checks} checks of all accounts during the load; producer "
          f"{spent / 1e3 / (end['user_enqueue_count'] - begun['user_enqueue_count']):.3f} µs of "
          "CPU per record")
    print_agents(agents)
    lib.check_equal(producer.stop(), 0, "exit code of the producer")


def check_captured(loads, workloads, begun, end):
    """Every call that moved data became a record, or is among those lost."""
    wanted = sum(load.figures["sends"] + load.figures["receives"]
                 + workload.server_records * load.figures["requests"]
                 for load, workload in zip(loads, workloads))
    emitted = end["kern_emitted"] - begun["kern_emitted"]
    lost = {stage: end[stage] for stage in (*STAGES, "kern_socket_map_full", "kern_bad_pointer",
                                            "kern_skipped")}
    print(f"\nrecords: {emitted} emitted, {wanted:.0f} wanted at least, lost: {lost}")
    missing = lost["kern_socket_map_full"] + lost["kern_bad_pointer"] + lost["kern_skipped"]
    lib.check(emitted + missing >= 0.999 * wanted, "fewer records than calls")


def print_loads(loads):
    print(f"{'':12}{'requests/s':>12}{'p50 us':>9}{'p99 us':>9}{'timeouts':>10}")
    for load in loads:
        if load.error:
            raise load.error
        figures = load.figures
        print(f"{load.name:12}{figures['requests_per_s']:12.0f}{figures['p50_us']:9.0f}"
              f"{figures['p99_us']:9.0f}{figures['timeouts']:10}")


def print_agents(agents):
    for agent in agents.all():
        print(f"{agent.name:9} {account_of(agent)}")
    print(f"guests before it: {len(agents.left)}, all accounts exact")


def main():
    parser = argparse.ArgumentParser(description="All workloads at once, every account checked")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--share", type=float, default=1, help="of the rates")
    parser.add_argument("--only", action="append", choices=list(server_workloads.WORKLOADS))
    parser.add_argument("--producer", default="", help="options of the producer")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIP: needs root")
        return 77
    lib.mount_tracefs()
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-soak-"))
    try:
        lib.enter_own_network()
        soak(bench, options)
    except lib.Skip as reason:
        print(f"SKIP: {reason}")
        return 77
    except lib.Failure as failure:
        bench.show()
        print(f"FAILED: {failure}")
        return 1
    finally:
        for process in bench.processes:
            process.send_signal(signal.SIGCONT)
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)
    print("ok: every account adds up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
