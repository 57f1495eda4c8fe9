# SPDX-License-Identifier: Apache-2.0
"""The daemon's life: one per socket, a clean end, a restart that agents survive."""

import ctypes
import errno
import glob
import os
import signal
import shutil
import subprocess
import time

from lib import Skip, check, check_equal, main, program, wait_until
from smoke_check import check_smoke

EXIT_SOCKET_BUSY = 4


def a_second_producer_on_the_same_socket_is_refused(bench):
    first = bench.producer()
    second = bench.producer(name="second", wait=False)
    check_equal(second.wait(), EXIT_SOCKET_BUSY, "exit code of the second producer")
    lines = [line for line in second.stderr().splitlines() if bench.socket in line]
    check(any(str(first.pid) in line for line in lines),
          f"the refusal names the socket and the other's pid: {second.stderr()!r}")
    check(first.running() and os.path.exists(bench.socket), "the first one goes on")
    check_equal(bench.ctl("tracer", "show") != {}, True, "the first one still answers")


def kernel_objects(pid):
    """Ids of the BPF programs and maps that a process holds open."""
    found = set()
    for path in glob.glob(f"/proc/{pid}/fdinfo/*"):
        try:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if line.startswith(("prog_id:", "map_id:")):
                        kind, number = line.split()
                        found.add((kind.split("_", maxsplit=1)[0], number))
        except OSError:
            continue
    return found


# bpf(2): walks the ids that exist. Looking an object up by its id would take a reference,
# and that is no way to find out whether it goes away (bpftool does so).
SYS_BPF = 321
NEXT_ID_COMMANDS = {"prog": 11, "map": 12}


def ids_in_kernel(kind):
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 3)()
    found = set()
    while libc.syscall(SYS_BPF, NEXT_ID_COMMANDS[kind], ctypes.byref(attributes),
                       ctypes.sizeof(attributes)) == 0:
        attributes[0] = attributes[1]  # next_id, the one to go on from
        found.add(str(attributes[1]))
    check_equal(ctypes.get_errno(), errno.ENOENT, f"errno at the end of the {kind} ids")
    return found


def left_in_kernel(objects):
    there = {kind: ids_in_kernel(kind) for kind in NEXT_ID_COMMANDS}
    return [entry for entry in objects if entry[1] in there[entry[0]]]


def check_clean_end(bench, number):
    producer = bench.producer(name=f"producer-{number.name}")
    agent = bench.agent(name=f"agent-{number.name}")
    bench.smoke(2)
    objects = kernel_objects(producer.pid)
    check(any(kind == "prog" for kind, _ in objects), "the producer holds BPF programs")
    check_equal(sorted(left_in_kernel(objects)), sorted(objects), "objects while it runs")
    check_equal(producer.stop(number), 0, f"exit code after {number.name}")
    agent.finish()
    leftovers = [name for name in os.listdir(bench.folder) if "sock" in name]
    check_equal(leftovers, [], "files beside the socket")
    # The kernel frees them a little later, after a grace period.
    wait_until(lambda: not left_in_kernel(objects), 30, "the kernel frees programs and maps")


def sigint_ends_it_and_nothing_is_left(bench):
    check_clean_end(bench, signal.SIGINT)


def sigterm_ends_it_and_nothing_is_left(bench):
    check_clean_end(bench, signal.SIGTERM)


def a_killed_producer_leaves_nothing_in_the_next_ones_way(bench):
    bench.producer().stop(signal.SIGKILL)
    check(os.path.exists(bench.socket), "the stale socket is there")
    bench.producer(name="next")
    agent = bench.agent()
    report = bench.smoke(2)
    wait_until(lambda: len(agent.records()) >= 4 * 2 * len(report["flows"]), 10, "its records")


def agents_survive_a_restart(bench):
    first = bench.producer(name="first")
    agents = [bench.agent("c++"), bench.agent("rust")]
    before = bench.smoke(2)
    for agent in agents:
        wait_until(lambda agent=agent: len(agent.records()) >= 8 * len(before["flows"]), 10,
                   f"{agent.name} has the first records")
    check_equal(first.stop(), 0, "exit code of the first producer")
    time.sleep(0.3)
    check(all(agent.running() for agent in agents), "agents wait for the next producer")
    bench.producer(name="second")

    def attached_again():
        return len(bench.ctl("tracer", "show") and restarts(agents)) == len(agents)
    wait_until(attached_again, 10, "every agent tells the restart")
    after = bench.smoke(2)
    pids = (after["client_pid"], after["server_pid"])
    for agent in agents:
        def fresh(agent=agent):
            return [record for record in agent.records() if record["process_id"] in pids]
        wait_until(lambda fresh=fresh: len(fresh()) >= 8 * len(after["flows"]), 10,
                   f"{agent.name} has the records of the second producer")
        agent.finish()
        check_equal(check_smoke(after, fresh())[0], [], f"{agent.name} after the restart")
        lines = agent.lines()
        (at,) = [i for i, line in enumerate(lines) if line.get("cause") == "restart"]
        check(not any(line.get("process_id") in pids for line in lines[:at]),
              "the restart is told before the first record of the new producer")


def restarts(agents):
    return [agent for agent in agents
            if any(gap.get("cause") == "restart" for gap in agent.gaps())]


def it_traces_nothing_of_itself(bench):
    producer = bench.producer("--capture-unknown")
    agent = bench.agent()
    bench.smoke(2)
    for _ in range(5):
        bench.ctl("tracer", "show")
    wait_until(lambda: len(agent.records()) > 20, 10, "records")
    agent.finish()
    own = [record for record in agent.records() if record["process_id"] == producer.pid]
    check_equal(own, [], "records of the producer's own calls")


def stop_and_start_take_effect(bench):
    """What comes later in the ring was sent later: once it is there, the rest would be, too."""
    bench.producer("--stopped")
    agent = bench.agent()

    def pids(report):
        return {report["client_pid"], report["server_pid"]}

    def seen(report):
        return [record for record in agent.records() if record["process_id"] in pids(report)]

    quiet = [bench.smoke(1)]
    for _ in range(2):
        bench.run_ctl("tracer", "start")
        heard = bench.smoke(1)
        wait_until(lambda heard=heard: len(seen(heard)) >= 4 * len(heard["flows"]), 10,
                   "records after the start")
        for report in quiet:
            check_equal(seen(report), [], "records while it was stopped")
        bench.run_ctl("tracer", "stop")
        quiet.append(bench.smoke(1))


def without_privilege_it_says_what_is_missing(bench):
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise Skip("setpriv is not installed")
    done = subprocess.run(
        [setpriv, "--bounding-set=-all", "--inh-caps=-all",
         program("ebpf-producer"), "--socket", bench.socket],
        capture_output=True, text=True, timeout=60, check=False)
    check_equal(done.returncode, 3, f"exit code without privileges ({done.stderr.strip()})")
    check("CAP_BPF" in done.stderr or "CAP_SYS_ADMIN" in done.stderr,
          f"the missing capability is named: {done.stderr!r}")


main(a_second_producer_on_the_same_socket_is_refused, sigint_ends_it_and_nothing_is_left,
     sigterm_ends_it_and_nothing_is_left, a_killed_producer_leaves_nothing_in_the_next_ones_way,
     agents_survive_a_restart, it_traces_nothing_of_itself, stop_and_start_take_effect,
     without_privilege_it_says_what_is_missing)
