# SPDX-License-Identifier: Apache-2.0
"""The original API with real traffic: a program that becomes the producer, and one that attaches
without privilege to a producer that runs."""

import os
import pwd
import shutil
import subprocess
import time

import lib
from lib import check, check_equal, wait_until

TESTS = os.path.join(lib.BIN, "../tests")
TRACER_STOP, TRACER_RUNNING = 1, 2


def fields(line):
    """"kind a=1 b=x text=all the rest" as a dictionary."""
    head, _, text = line.partition(" text=")
    found = dict(part.split("=", 1) for part in head.split()[1:] if "=" in part)
    found = {key: int(value) if value.lstrip("-").isdigit() else value
             for key, value in found.items()}
    return {**found, "text": text}


class OriginalAgent(lib.Process):
    """tests/abi/tracer/agent.c, or another program that obeys as it does."""

    def __init__(self, bench, program, *arguments, name="agent", user=None):
        self.bench = bench
        self.reader, self.writer = os.pipe()
        environment = {**os.environ, "EBPF_SOCKET": bench.socket}

        def prepare():
            lib.die_with_parent()
            if user:
                os.setgroups([])
                os.setgid(os.stat(bench.socket).st_gid)
                os.setuid(pwd.getpwnam(user).pw_uid)
        self.name = name
        self.stdout_path = bench.path(f"{name}.out")
        self.stderr_path = bench.path(f"{name}.err")
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.popen = subprocess.Popen([program, *arguments], stdin=self.reader, stdout=out,
                                          stderr=err, env=environment, preexec_fn=prepare)
        os.close(self.reader)
        bench.processes.append(self)

    def lines(self, kind):
        return [line for line in self.stdout().splitlines() if line.startswith(kind + " ")]

    def wait_running(self):
        wait_until(lambda: self.lines("answer running") or not self.running(), 30, "it is set up")
        answers = self.lines("answer running")
        if answers == ["answer running -1"] and "BPF" in self.stdout() + self.stderr():
            raise lib.Skip(f"no BPF here: {self.stdout()}")
        check_equal(answers, ["answer running 0"], "running_socket_tracer()")
        return self

    def tell(self, command):
        """Sends a command; gives the line that answers it."""
        kind = "stats" if command == "stats" else f"answer {command}"
        before = len(self.lines(kind))
        os.write(self.writer, (command + "\n").encode())
        wait_until(lambda: len(self.lines(kind)) > before, 20, f"{self.name} answers {command}")
        return self.lines(kind)[-1]

    def call(self, command, wanted=0):
        result = int(self.tell(command).split()[-1])
        check((result == 0) == (wanted == 0), f"{command}: got {result}")

    def stats(self):
        return fields(self.tell("stats"))

    def records(self):
        return [fields(line) for line in self.lines("record")]

    def ours(self):
        """The records of our own traffic: the machine may have other."""
        return [record for record in self.records() if str(record["name"]).startswith("traffic-")]

    def quit(self):
        os.write(self.writer, b"quit\n")
        check_equal(self.wait(), 0, f"exit code of {self.name} ({self.stderr()})")


def agent(bench, *arguments, name="agent", program="tracer_agent", user=None):
    path = os.path.join(TESTS, program)
    check(os.access(path, os.X_OK), f"{path} is not built")
    if user:  # who may not look into where we were built
        path = shutil.copy(path, bench.path(name))
    return OriginalAgent(bench, path, *arguments, name=name, user=user)


def traffic(bench, agent_, exchanges=3):
    """Smoke traffic; gives what the agent was told of it."""
    before = len(agent_.ours())
    smoke = bench.smoke(exchanges)
    time.sleep(0.3)
    return smoke, agent_.ours()[before:]


def check_records(records, threads):
    """What holds of every socket's records, and of how they are spread."""
    check(len(records) >= 40, f"only {len(records)} records")
    sockets = {}
    for record in records:
        sockets.setdefault(record["socket"], []).append(record)
        check(0 < record["cap_len"] <= record["syscall_len"], f"lengths: {record}")
        check(record["protocol"] in (20, 120), f"protocol: {record}")
        check(record["direction"] in (0, 1) and record["type"] in (1, 2), f"kind: {record}")
        check(abs(record["time"] / 1e6 - time.time()) < 60, f"time: {record}")
    for socket in sockets.values():
        check_equal(len({record["thread"] for record in socket}), 1, "threads of a socket")
        numbers = [record["seq"] for record in socket]
        check_equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "cap_seq")
    used = len({record["thread"] for record in records})
    check(used == threads, f"{used} of {threads} threads were used")
    check(any(record["text"].startswith("GET ") for record in records), "no request line")


def check_grew(before, after, *names):
    for name in names:
        check(after[name] > before[name], f"{name}: {before[name]}, then {after[name]}")


def becomes_the_producer(bench):
    log = bench.path("agent.log")
    original = agent(bench, "2", "8", log).wait_running()
    stats = original.stats()
    check_equal((stats["tracer_state"], stats["is_adapt_success"]), (TRACER_STOP, 1), "state")
    check_equal(traffic(bench, original)[1], [], "records before tracer_start()")

    original.call("start")
    original.call("start", wanted=-1)
    other = bench.agent()
    check_records(traffic(bench, original)[1], threads=2)
    wait_until(lambda: len(other.records()) >= 40, 5, "another agent reads along")
    shown = bench.ctl("tracer", "show")
    check_equal(shown["tracer_state"], "running", "ebpfctl's tracer_state")

    now = original.stats()
    check_equal(now["tracer_state"], TRACER_RUNNING, "tracer_state")
    check_grew(stats, now, "user_enqueue_count", "user_dequeue_count", "queue_burst_count",
               "kern_socket_map_used")
    wanted = {"perf_pages_count": 64, "kern_socket_map_max": 8192, "kern_trace_map_max": 8192,
              "worker_num": 2, "socket_map_max_reclaim": 8000, "kern_lost": 0,
              "user_enqueue_lost": 0, "mem_alloc_fail_count": 0}
    check_equal({name: now[name] for name in wanted}, wanted, "stats")
    check(40 <= now["user_dequeue_count"] <= len(original.records()), "user_dequeue_count")
    check(now["queue_capacity"] >= 2048, f"queue_capacity is {now['queue_capacity']}")

    original.call("stop")
    original.call("stop", wanted=-1)
    check_equal(traffic(bench, original)[1], [], "records after tracer_stop()")
    check_equal(original.stats()["tracer_state"], TRACER_STOP, "tracer_state")
    check_equal(bench.ctl("tracer", "show")["tracer_state"], "stopped", "ebpfctl's tracer_state")
    original.call("start")
    check_records(traffic(bench, original)[1], threads=2)

    original.quit()
    check(not os.path.exists(bench.socket), "the socket is still there")
    with open(log, encoding="utf-8") as file:
        text = file.read()
    check("this program is the producer" in text, f"log: {text}")
    check_equal(original.stdout().count("libebpf"), 0, "log lines on standard output")


def attaches_without_privilege(bench):
    os.chmod(bench.folder, 0o711)
    bench.producer("--threads", "1", "--stopped")
    original = agent(bench, "3", "7", "-", user="nobody").wait_running()
    other = bench.agent()
    bench.run_ctl("tracer", "start")
    check_equal(original.stats()["tracer_state"], TRACER_STOP, "tracer_state")
    original.call("start")
    check_records(traffic(bench, original)[1], threads=3)

    original.call("stop")
    before = len(other.records())
    check_equal(traffic(bench, original)[1], [], "records after tracer_stop()")
    check(len(other.records()) > before, "another agent must not feel this one's stop")
    check_equal(bench.ctl("tracer", "show")["tracer_state"], "running", "the producer's state")

    original.call("start")
    check_records(traffic(bench, original)[1], threads=3)
    stats = original.stats()
    check_equal(stats["tracer_state"], TRACER_RUNNING, "tracer_state")
    check(80 <= stats["user_dequeue_count"] <= len(original.records()), "user_dequeue_count")
    check(stats["user_enqueue_count"] >= stats["user_dequeue_count"], "user_enqueue_count")
    check_equal(stats["kern_socket_map_max"], 524288, "kern_socket_map_max of the producer")
    original.quit()
    check("attached to the producer" in original.stdout(), "log on standard output")


def goes_on_with_the_next_producer(bench):
    os.chmod(bench.folder, 0o711)
    first = bench.producer("--threads", "2")
    original = agent(bench, "2", "7", "-", user="nobody").wait_running()
    original.call("start")
    check_records(traffic(bench, original)[1], threads=2)
    check_equal(first.stop(), 0, "exit code of the first producer")
    original.stats()
    bench.producer("--threads", "4", name="second")
    wait_until(lambda: bench.ctl("tracer", "show")["consumer_count"] == 2, 5, "it attaches again")
    check_records(traffic(bench, original)[1], threads=2)
    original.quit()


def two_programs_with_sixteen_threads_each_find_room(bench):
    os.chmod(bench.folder, 0o711)
    bench.producer("--threads", "4")
    programs = [agent(bench, "16", "7", "-", name=name, user="nobody").wait_running()
                for name in ("one", "two")]
    for original in programs:
        original.call("start")
    wait_until(lambda: bench.ctl("tracer", "show")["consumer_count"] == 32, 10, "all attach")
    bench.smoke(3)
    wait_until(lambda: len(programs[0].ours()) >= 40 and
               len(programs[0].ours()) == len(programs[1].ours()), 10, "both get the records")
    for original in programs:
        threads = {}
        for record in original.ours():
            threads.setdefault(record["socket"], set()).add(record["thread"])
        check(all(len(found) == 1 for found in threads.values()), f"threads of a socket: {threads}")
        check(len(set.union(*threads.values())) > 4, "more threads are used than there are lanes")
        original.call("stop")
        original.quit()


def keeps_its_libbpf_apart(bench):
    original = agent(bench, "1", "7", "-", program="tracer_agent_own_libbpf").wait_running()
    original.call("own_libbpf")  # from here on the program's libbpf reports to the program
    original.call("start")
    check_records(traffic(bench, original)[1], threads=1)
    original.call("stop")
    original.call("own_libbpf")
    original.quit()


def rust_sample(bench, *arguments, name):
    """The original's Rust sample: it starts at once, and ends by a signal only."""
    sample = OriginalAgent(bench, lib.program("rust_sample"), bench.path(f"{name}.log"),
                           *arguments, name=name)
    return sample.wait_running()


def runs_the_rust_sample(bench):
    seven = rust_sample(bench, name="seven")  # becomes the producer
    eight = rust_sample(bench, "8", name="eight")  # attaches to it
    for sample in (seven, eight):
        check("libebpf info" in sample.stdout(), "no log on standard output")
    bench.smoke(3)
    wait_until(lambda: len(eight.ours()) >= 40 and len(eight.ours()) == len(seven.ours()),
               5, "both samples print the records")
    check_equal(eight.ours(), seven.ours(), "records of the two samples")
    check(any(record["text"].startswith("GET ") for record in seven.ours()), "no request line")
    check("attached to the producer" in eight.stdout(), "the second one attaches")


lib.main(runs_the_rust_sample, becomes_the_producer, attaches_without_privilege, goes_on_with_the_next_producer,
         keeps_its_libbpf_apart, two_programs_with_sixteen_threads_each_find_room)
