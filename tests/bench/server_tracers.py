# SPDX-License-Identifier: Apache-2.0
"""Who traces in the server benches: nobody, we, or what people would use instead.

A tracer is started for a workload, told when a load begins and ends, and gives its account of it:
records captured, what was lost by stage, and the processes whose CPU time it costs.
"""

import os
import re
import time

import lib
import server_load

NOBODY = "4194304"  # no process has that id
CAPTURED_BYTES = 200
READY_S = 30


def process_ids(pid):
    """A process and those below it."""
    ids = [pid]
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                for child in file.read().split():
                    ids += process_ids(int(child))
    except FileNotFoundError:
        pass
    return ids


def cpu_ns(pid):
    """CPU time of a process, threads that ended included, and of those below it."""
    spent = 0
    for one in process_ids(pid):
        try:
            spent += time.clock_gettime_ns((~one << 3) | 2)  # the scheduler's clock of a process
        except OSError:
            pass  # it ended
    return spent


class Untraced:
    name = "untraced"
    ours = False

    def start(self, bench, workload, server):
        pass

    def begin(self):
        pass

    def settle(self):
        """Returns when it is done with what it has to do for the load."""

    def cpu_ns(self):
        """By role: tracer, consumers."""
        return {"tracer": 0, "consumers": 0}

    def end(self):
        """The account since begin(); {} if it captures nothing."""
        return {}

    def stop(self):
        pass


class Ours(Untraced):
    ours = True

    def __init__(self, name, consumers, server_only=False, options=()):
        self.name, self.consumers, self.server_only = name, consumers, server_only
        self.options = options
        self.bench = self.producer = self.before = None
        self.agents = []

    def start(self, bench, workload, server):
        self.bench = bench
        options = list(self.options)
        if self.server_only:
            options += ["--allow-pids", ",".join(str(pid) for pid in process_ids(server.pid))]
        self.producer = bench.producer(*options)
        # They read every record, and print none.
        self.agents = [bench.agent("c++", "--pid", NOBODY, "--from", "tail", name=f"agent-{number}",
                                   attached=False) for number in range(self.consumers)]
        for agent in self.agents:
            agent.wait_attached(bench)

    def _losses(self):
        return self.bench.ctl("loss", "show")

    def begin(self):
        self.before = self._losses()

    def settle(self):
        """All that was emitted is published or lost, and read."""
        def done():
            now = self._losses()
            return (now["events"]["on_their_way"] == 0
                    and all(row["unread"] == 0 for row in now["consumers"]))
        lib.wait_until(done, 5, "the producer and the consumers have caught up")

    def cpu_ns(self):
        return {"tracer": cpu_ns(self.producer.pid),
                "consumers": sum(cpu_ns(agent.pid) for agent in self.agents)}

    def end(self):
        before, after = self.before, self._losses()
        events, calls = after["events"], after["calls"]
        lib.check_equal(events["published"] + events["lost"] + events["on_their_way"],
                        events["emitted"], "published and lost of what was emitted")
        lost = {cause: events["causes"][cause] - before["events"]["causes"][cause]
                for cause in events["causes"]}
        for cause in ("socket_map_full", "payload_not_readable", "run_left_out"):
            lost[cause] = calls["causes"][cause] - before["calls"]["causes"][cause]
        lost["consumers"] = 0
        lib.check_equal(len(after["consumers"]), self.consumers, "consumers")
        for row in after["consumers"]:
            lib.check_equal(row["delivered"] + row["filtered"] + row["lost"]["lapped"]
                            + row["unread"], row["published"], f"account of consumer {row['id']}")
            lost["consumers"] += row["lost"]["lapped"] - next(
                old["lost"]["lapped"] for old in before["consumers"] if old["id"] == row["id"])
        return {"captured": events["published"] - before["events"]["published"], "lost": lost}

    def stop(self):
        for agent in self.agents:
            lib.check_equal(agent.stop(), 0, f"exit code of {agent.name}: {agent.stderr()}")
        lib.check_equal(self.producer.stop(), 0, "exit code of the producer")


class Tool(Untraced):
    """Another program, whose output tells what it did."""

    def __init__(self):
        self.process = None
        self.heard = ""

    def launch(self, bench, command, ready):
        self.process = bench.start(self.name, command)

        def begun():
            lib.check(self.process.running(), f"{self.name} does not begin: "
                                              f"{(self.said() or 'it says nothing').strip()[:200]}")
            return re.search(ready, self.said())
        lib.wait_until(begun, READY_S, f"{self.name} begins")

    def said(self):
        return self.process.stderr() + self.process.stdout()

    def settle(self):
        """It works on for a while; done when it is at rest."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            before = cpu_ns(self.process.pid)
            time.sleep(0.05)
            if cpu_ns(self.process.pid) - before < 1_000_000:
                return

    def cpu_ns(self):
        return {"tracer": cpu_ns(self.process.pid), "consumers": 0}

    def stop(self):
        self.process.stop()


class Tcpdump(Tool):
    """Packets, not calls: no process, no ids. Its losses are those of the whole run."""
    name = "tcpdump"

    def start(self, bench, workload, server):
        self.launch(bench, [lib.foreign("tcpdump"), "-i", "lo", "-s", "0", "-w", "/dev/null",
                            "port", str(workload.port)], "listening on")

    def begin(self):
        self.heard = self._counted()

    def settle(self):
        """It takes packets from the kernel by the block, or once in a second. The kernel counts
        each twice on the loopback interface, where it leaves and arrives."""
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            captured, _, received = self._counted()
            if 2 * captured >= received:
                return
            time.sleep(0.05)

    def _counted(self):
        """It tells its counters on SIGUSR1."""
        seen = len(self.said())
        self.process.send_signal(10)
        lib.wait_until(lambda: "dropped by kernel" in self.said()[seen:], 5, "tcpdump counts")
        said = self.said()[seen:]
        return [int(re.search(rf"(\d+) packets? {what}", said).group(1))
                for what in ("captured", "dropped by kernel", "received by filter")]

    def end(self):
        before, after = self.heard, self._counted()
        return {"packets": after[0] - before[0],
                "lost": {"dropped by kernel": after[1] - before[1]}}


class Bpftrace(Tool):
    """The same calls, and of each as many bytes as it takes at most."""
    name = "bpftrace"

    def start(self, bench, workload, server):
        names = {server_load.GENERATOR, workload.flat_out_client()}
        who = " || ".join([f"pid == {pid}" for pid in process_ids(server.pid)]
                          + [f'comm == "{name[:15]}"' for name in sorted(names)])
        self.output = bench.path("bpftrace.output")
        if os.path.exists(self.output):
            os.unlink(self.output)
        os.environ["BPFTRACE_STRLEN"] = str(CAPTURED_BYTES)
        self.launch(bench, ["env", f"LD_PRELOAD={server_load.built('memlock_shim.so')}",
                            lib.foreign("bpftrace"), "-o", self.output, "-e", program(who)],
                    "Attaching")
        time.sleep(0.5)  # it says so just before

    def said(self):
        text = self.process.stderr() + self.process.stdout()
        if os.path.exists(self.output):
            with open(self.output, encoding="utf-8", errors="replace") as file:
                text += file.read(200)
        return text

    def begin(self):
        with open(self.output, "rb") as file:
            self.heard = file.seek(0, os.SEEK_END)

    def end(self):
        """A line for each call, and one for each time that it lost some."""
        captured = lost = 0
        with open(self.output, "rb") as file:
            file.seek(self.heard)
            for line in file:
                if line.startswith(b"Lost "):
                    lost += int(line.split()[1])
                else:
                    captured += line.startswith(b"> ")
        return {"captured": captured, "lost": {"told by bpftrace": lost}}


def program(who):
    """Sends are printed when they begin, receives when they end, each up to its length."""
    text = []
    show = 'printf("> %r\\n", buf({}, {}));'
    for call, data, length in (("write", "args->buf", "args->count"),
                               ("sendto", "args->buff", "args->len")):
        text.append(f"tracepoint:syscalls:sys_enter_{call} /{who}/ "
                    f"{{ {show.format(data, length)} }}")
    for call, vector in (("writev", "(struct iovec *)args->vec"),
                         ("sendmsg", "((struct user_msghdr *)args->msg)->msg_iov")):
        text.append(f"tracepoint:syscalls:sys_enter_{call} /{who}/ {{ $v = {vector}; "
                    f"{show.format('$v->iov_base', '$v->iov_len')} }}")
    for call, data in (("read", "args->buf"), ("recvfrom", "args->ubuf"),
                       ("recvmsg", "((struct user_msghdr *)args->msg)->msg_iov->iov_base")):
        text.append(f"tracepoint:syscalls:sys_enter_{call} /{who}/ {{ @to[tid] = {data}; }}")
        text.append(f"tracepoint:syscalls:sys_exit_{call} /@to[tid]/ {{ if (args->ret > 0) "
                    f"{{ {show.format('@to[tid]', 'args->ret')} }} delete(@to[tid]); }}")
    return "\n".join(text)


def all_tracers(producer_options=()):
    return [Untraced(), Ours("0 consumers", 0, options=producer_options),
            Ours("1 consumer", 1, options=producer_options),
            Ours("4 consumers", 4, options=producer_options),
            Ours("server only", 1, server_only=True, options=producer_options),
            Tcpdump(), Bpftrace()]
