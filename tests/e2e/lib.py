# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: programs under test, their records, skip and fail rules.

A test is a function that gets a Bench and raises when something does not hold. Everything runs
in a directory of its own, on sockets and ports of its own, and is gone afterwards.
"""

import ctypes
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

BIN = os.environ.get("EBPF_BIN", os.path.join(os.path.dirname(__file__), "../../build/bin"))
AGENTS = {"c++": "ebpf-tail", "rust": "ebpf-tail-rs"}

EXIT_NO_KERNEL = 3


class Skip(Exception):
    """This machine cannot run the test; the reason is the text."""


class Failure(Exception):
    """Something that must hold does not."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def check_equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def program(name):
    """The path of one of our programs."""
    path = os.path.join(BIN, name)
    check(os.access(path, os.X_OK), f"{path} is not built")
    return path


def foreign(name):
    """The path of a program that belongs to the system; Skip where it is not installed."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(f"{name} is not installed")
    return path


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# A machine that does something else takes longer; only a failure waits so long.
PATIENCE = 4


def wait_until(condition, seconds, what):
    """Polls; gives the first true value."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.02)


_libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """In a child: a test that is killed (by ctest's time-out) leaves no program behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
TRACEFS = "/sys/kernel/tracing"


def mount_tracefs():
    """Bare machines have no tracefs mounted: for this test and its programs alone, it is."""
    if os.geteuid() != 0 or os.path.exists(f"{TRACEFS}/events"):
        return
    if _libc.unshare(CLONE_NEWNS) != 0:
        return  # what needs tracefs then says so
    _libc.mount(None, b"/sys", None, MS_REC | MS_PRIVATE, None)
    _libc.mount(b"tracefs", TRACEFS.encode(), b"tracefs", 0, None)


def enter_own_network():
    """A loopback of our own, on which nobody else says anything and every port is free."""
    check(_libc.unshare(CLONE_NEWNET) == 0, "a network namespace of our own")
    subprocess.run([foreign("ip"), "link", "set", "lo", "up"], check=True)


def mount_small_disk(path, size):
    """An empty file system of so many bytes, that this test and its programs alone see."""
    check(_libc.unshare(CLONE_NEWNS) == 0, "a mount namespace of our own")
    _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    os.makedirs(path)
    check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, f"size={size}".encode()) == 0,
          "a small file system")


class Process:
    """A program that runs, with what it prints in files."""

    def __init__(self, name, command, folder):
        self.name = name
        self.stdout_path = os.path.join(folder, f"{name}.out")
        self.stderr_path = os.path.join(folder, f"{name}.err")
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                          preexec_fn=die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    def stdout(self):
        with open(self.stdout_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def running(self):
        return self.popen.poll() is None

    def wait(self, seconds=10):
        seconds *= PATIENCE
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end within {seconds} s") from None

    def send_signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGINT, seconds=10):
        """Ends it by a signal and gives its exit code."""
        self.send_signal(number)
        return self.wait(seconds)


class Agent(Process):
    """One of the two sample agents, printing JSON."""

    def __init__(self, name, command, folder):
        super().__init__(name, command, folder)
        self._lines = []
        self._offset = 0

    def lines(self):
        """Every whole line that it printed so far, parsed."""
        with open(self.stdout_path, "rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        whole = fresh[:fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._lines += [json.loads(line) for line in whole.splitlines()]
        return self._lines

    def records(self):
        return [line for line in self.lines() if "gap" not in line]

    def gaps(self):
        return [line for line in self.lines() if "gap" in line]

    def wait_attached(self, bench):
        """Waits until the producer counts it, so that nothing from now on is missed."""
        wait_until(lambda: not self.running() or self.pid in bench.attached_pids(), 10,
                   f"{self.name} attaches")
        check(self.running(), f"{self.name} ended: {self.stderr()}")

    def finish(self):
        check_equal(self.stop(), 0, f"exit code of {self.name} ({self.stderr().strip()})")
        return self.records()


class Producer(Process):
    def wait_ready(self, seconds=30):
        def ready():
            return "ready:" in self.stdout() or not self.running()
        wait_until(ready, seconds, "the producer says that it is ready")
        if self.running() or "ready:" in self.stdout():
            return self
        code = self.wait()
        if code == EXIT_NO_KERNEL:
            raise Skip(f"no BPF here: {self.stderr().strip().splitlines()[-1]}")
        raise Failure(f"the producer ended with {code}: {self.stderr().strip()}")


class Bench:
    """The folder and the processes of one test."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = self.path("producer.sock")
        self.processes = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def _started(self, process):
        self.processes.append(process)
        return process

    def start(self, name, command):
        return self._started(Process(name, command, self.folder))

    def producer(self, *options, name="producer", wait=True):
        command = [program("ebpf-producer"), "--socket", self.socket, *options]
        producer = self._started(Producer(name, command, self.folder))
        return producer.wait_ready() if wait else producer

    def agent(self, kind="c++", *options, name=None, attached=True):
        """Starts a sample agent; from the oldest record on unless told otherwise."""
        options = list(options)
        if "--from" not in options:
            options += ["--from", "oldest"]
        command = [program(AGENTS[kind]), "-o", "json", "--socket", self.socket, *options]
        agent = self._started(Agent(name or AGENTS[kind], command, self.folder))
        if attached:
            agent.wait_attached(self)
        return agent

    def attached_pids(self):
        """Processes that hold a mapping of this producer's ring: the attached agents."""
        pids = set()
        for agent in self.processes:
            if not isinstance(agent, Agent) or not agent.running():
                continue
            try:
                with open(f"/proc/{agent.pid}/maps", encoding="utf-8") as maps:
                    if "/memfd:" in maps.read():
                        pids.add(agent.pid)
            except OSError:
                continue
        return pids

    def ctl(self, *arguments):
        """ebpfctl with JSON output, parsed."""
        done = self.run([program("ebpfctl"), "--socket", self.socket, "-o", "json", *arguments])
        return json.loads(done.stdout)

    def run_ctl(self, *arguments):
        """ebpfctl, for what it does and not for what it prints."""
        self.run([program("ebpfctl"), "--socket", self.socket, *arguments])

    def run(self, command, wanted=0, seconds=60):
        """Runs a program to its end, and checks its exit code."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=seconds, check=False)
        check(wanted is None or done.returncode == wanted,
              f"{' '.join(command)} ended with {done.returncode}, not {wanted}:\n"
              f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def smoke(self, exchanges=5):
        """Runs the smoke traffic; gives its report."""
        done = self.run([program("ebpf-traffic"), "smoke", "--exchanges", str(exchanges)])
        return json.loads(done.stdout)

    def nginx(self, workers=1):
        """A private nginx that answers every path; gives (process, port)."""
        nginx = foreign("nginx")
        port = free_port()
        prefix = self.path("nginx")
        os.makedirs(prefix)
        temp = "\n".join(f"  {kind}_temp_path {prefix}/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(f"{prefix}/nginx.conf", "w", encoding="utf-8") as config:
            config.write(f"""daemon off;
worker_processes {workers};
user {'root' if os.geteuid() == 0 else 'nobody'};
pid {prefix}/pid;
error_log {prefix}/error.log;
events {{}}
http {{
  access_log off;
  keepalive_requests 100000;
{temp}
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "you asked for $request_uri\\n"; }}
  }}
}}
""")
        server = self.start("nginx", [nginx, "-e", f"{prefix}/error.log", "-p", prefix,
                                      "-c", f"{prefix}/nginx.conf"])

        def answers():
            check(server.running(), f"nginx ended: {server.stderr()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False
        wait_until(answers, 10, "nginx answers")
        return server, port

    def end(self):
        for process in reversed(self.processes):
            if process.running():
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.popen.wait(5)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()

    def show(self):
        """Prints the end of what every program said, for the log of a failure."""
        for path in sorted(glob.glob(self.path("*.err"))):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read().strip()
            if text:
                print(f"--- {os.path.basename(path)}\n{text[-3000:]}")


def payload(record):
    """The captured bytes of a record: each byte is the code point of the same value."""
    return record["cap_data"].encode("latin-1")


def first_line(record):
    return payload(record).split(b"\r\n", 1)[0].decode("latin-1")


def brief(record):
    """A record in one line, for messages."""
    keys = ("process_name", "process_id", "lport", "rport", "direction", "l7_protocol",
            "msg_type", "socket_id", "cap_seq", "syscall_len")
    return " ".join(f"{key}={record.get(key)}" for key in keys) + f" {first_line(record)[:60]!r}"


def main(*tests):
    """Runs the tests of one script; ends with 77 where one has to be skipped."""
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.geteuid() != 0:
        print("SKIP: needs root")
        sys.exit(77)
    mount_tracefs()
    for test in tests:
        bench = Bench(tempfile.mkdtemp(prefix="libebpf-e2e-"))
        started = time.monotonic()
        try:
            test(bench)
            print(f"ok: {test.__name__} ({time.monotonic() - started:.1f} s)")
        except Skip as reason:
            print(f"SKIP: {reason}")
            sys.exit(77)
        except Exception as error:  # noqa: BLE001: the verdict of the test, whatever it was
            if not isinstance(error, Failure):
                traceback.print_exc(file=sys.stdout)
            bench.show()
            print(f"FAILED: {test.__name__}: {error}")
            sys.exit(1)
        finally:
            bench.end()
            shutil.rmtree(bench.folder, ignore_errors=True)
