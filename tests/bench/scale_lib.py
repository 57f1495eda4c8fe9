# SPDX-License-Identifier: Apache-2.0
"""What the parts of scale_bench share: the traced process, the producer and its accounts."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lib  # noqa: E402  pylint: disable=wrong-import-position

PAGE = os.sysconf("SC_PAGESIZE")


class Worker:
    """The traced process: scale_worker, told what to do line by line. Its sockets have addresses
    from `first` on."""

    def __init__(self, first=0):
        self.first = first
        self.popen = subprocess.Popen([lib.program("scale_worker")], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True,
                                      preexec_fn=lib.die_with_parent)

    def say(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        answer = self.popen.stdout.readline()
        lib.check(answer, f"scale_worker ended at '{line}'")
        return json.loads(answer)

    def open(self, count):
        """Gives how many there are: the system may allow fewer."""
        return self.say(f"open {count} {self.first}")["sockets"]

    def close(self, count):
        return self.say(f"close {count}")["sockets"]

    def work(self, pairs, threads=1, pick="one", rate=0):
        done = self.say(f"work {threads} {pick} {rate} {pairs}")
        lib.check_equal(done["failed"], 0, "pairs that failed")
        return done

    def end(self):
        self.popen.stdin.close()
        self.popen.wait(30)


class Crowd:
    """Sockets in any number: the worker's, and of as many other processes as it takes where one may
    not have so many descriptors."""

    EACH = 60_000

    def __init__(self, worker):
        self.workers = [worker]
        self.opened = [worker.open(1)]

    def open(self, count):
        """Gives how many there are now."""
        while True:
            missing = count - sum(self.opened)
            self.opened[-1] = self.workers[-1].open(
                min(self.opened[-1] + max(missing, 0), self.EACH))
            missing = count - sum(self.opened)
            if missing <= 0 or self.opened[-1] == 0:
                return sum(self.opened)
            self.workers.append(Worker(len(self.workers) * self.EACH))
            self.opened.append(0)

    def close(self, count):
        """The last ones; gives how many it were. One is left."""
        closed = 0
        for index in reversed(range(len(self.workers))):
            before = self.opened[index]
            this = min(count - closed, before - (index == 0))
            self.opened[index] = self.workers[index].close(this)
            closed += before - self.opened[index]
        return closed

    def end(self):
        """All but the worker's own, which it keeps one of."""
        for worker in self.workers[1:]:
            worker.end()
        self.workers[0].close(self.opened[0] - 1)


class Tracer:
    """A producer with options, and readers of its ring."""

    def __init__(self, bench, *options):
        self.bench = bench
        self.producer = bench.producer(*options)
        self.readers = []

    def show(self):
        return self.bench.ctl("tracer", "show")

    def add_readers(self, count):
        """As many more as are missing."""
        while len(self.readers) < count:
            self.readers.append(subprocess.Popen(
                [lib.program("scale_reader"), self.bench.socket], stdin=subprocess.PIPE,
                preexec_fn=lib.die_with_parent))
        lib.wait_until(lambda: len(self.consumers()) == count, 10, f"{count} readers attach")

    def consumers(self):
        return self.bench.ctl("ring", "show")["consumers"]

    def cpu_ns(self):
        """(control thread, drain thread)"""
        spent = [0, 0]
        for thread in os.listdir(f"/proc/{self.producer.pid}/task"):
            with open(f"/proc/{self.producer.pid}/task/{thread}/schedstat",
                      encoding="ascii") as file:
                spent[int(thread) != self.producer.pid] += int(file.read().split()[0])
        return spent

    def account(self):
        """Waits until all that was emitted is accounted for."""
        def settled():
            shown = self.show()
            lost = {"kern": shown["kern_lost"], "user": shown["user_enqueue_lost"],
                    "bad": shown["bad_events"]}
            published = shown["user_enqueue_count"]
            if published + sum(lost.values()) < shown["kern_emitted"]:
                return None
            return {"emitted": shown["kern_emitted"], "published": published,
                    "lost": sum(lost.values()), "shown": shown}
        return lib.wait_until(settled, 10, "what was emitted is published or lost")

    def end(self):
        for reader in self.readers:
            reader.stdin.close()
        for reader in self.readers:
            lib.check_equal(reader.wait(10), 0, "exit code of a reader")
        lib.check_equal(self.producer.stop(), 0, "exit code of the producer")
        self.bench.processes.remove(self.producer)


def measure(tracer, worker, pairs, **how):
    """One run of the worker under a tracer: its cost, the producer's, and where the events went."""
    before, cpu = tracer.account(), tracer.cpu_ns()
    done = worker.work(pairs, **how)
    after, cpu_after = tracer.account(), tracer.cpu_ns()
    row = {key: after[key] - before[key] for key in ("emitted", "published", "lost")}
    row.update(pairs=done["pairs"], seconds=done["seconds"], best_ns=done["best_ns"],
               median_ns=done["median_ns"])
    row["drain_ns"] = (cpu_after[1] - cpu[1]) / max(row["published"], 1)
    check_account(row)
    return row


def check_account(row):
    lib.check(row["emitted"] >= 2 * row["pairs"],
              f"{row['pairs']} pairs gave {row['emitted']} events only")
    lib.check_equal(row["published"] + row["lost"], row["emitted"], "published and lost")


def idle_percent(tracer, seconds):
    """CPU time of the producer's threads (control, drain) while nothing happens, in % of one."""
    before, began = tracer.cpu_ns(), time.monotonic_ns()
    time.sleep(seconds)
    after, took = tracer.cpu_ns(), time.monotonic_ns() - began
    return [100 * (b - a) / took for a, b in zip(before, after)]


def memory(tracer):
    """Where the bytes of a producer are, as far as the kernel says: what is taken, not what is
    promised."""
    pid = tracer.producer.pid
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        kib = dict(line.split()[:2] for line in file if line.split()[0] in ("Rss:", "Pss:"))
    shared = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{number}")
            if link.startswith("/memfd:"):
                shared += os.stat(f"/proc/{pid}/fd/{number}").st_blocks * 512
        except FileNotFoundError:
            continue
    maps = tracer.bench.ctl("map", "show")["maps"]
    shown = tracer.show()
    return {"rss_bytes": int(kib["Rss:"]) * 1024, "pss_bytes": int(kib["Pss:"]) * 1024,
            "memfd_bytes": shared, "ring_bytes": shown["ring_bytes"],
            "map_bytes": sum(row["memory_bytes"] for row in maps),
            "buffer_bytes": shown["cpu_count"] * shown["perf_pages_count"] * PAGE}
