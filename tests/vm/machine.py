# SPDX-License-Identifier: Apache-2.0
"""Runs trace.sh, in a virtual machine or on this one, and gives its output as lines."""

import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time

from initramfs import Initramfs

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ("ebpf-producer", "ebpf-tail", "ebpfctl", "ebpf-traffic")
DEVICES = (("console", 5, 1), ("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9), ("ttyS0", 4, 64))
# Without cmpxchg16b: QEMU's emulation of it makes guests from 6.12 on panic now and then.
CPUS = (["-cpu", "max,-cx16", "-smp", "2"], ["-cpu", "qemu64", "-smp", "1"])


def libraries_of(program):
    """The shared libraries of a program, and its loader: (path inside, path here)."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    found = []
    for line in done.stdout.splitlines():
        listed = re.match(r"\s*(\S+) => (/\S+) \(", line)
        loader = re.match(r"\s*(/\S*ld-linux\S*) \(", line)
        if listed:
            found.append((f"lib/{listed.group(1)}", listed.group(2)))
        elif loader:
            found.append((loader.group(1).lstrip("/"), os.path.realpath(loader.group(1))))
    return found


def build_initramfs(programs, ways, producer_args, path):
    image = Initramfs()
    for folder in ("bin", "dev", "etc", "lib", "lib64", "proc", "sys", "tmp", "run", "root"):
        image.folder(folder)
    for name, major, minor in DEVICES:
        image.device(f"dev/{name}", major, minor)
    image.program("init", os.path.join(HERE, "init"))
    image.program("trace.sh", os.path.join(HERE, "trace.sh"))
    image.program("bin/busybox", shutil.which("busybox"))
    image.text("etc/ways", " ".join(ways))
    image.text("etc/producer.args", producer_args)
    with tempfile.TemporaryDirectory(prefix="libebpf-vm-") as folder:
        files = {}
        for name in PROGRAMS:
            program = os.path.join(programs, name)
            files[f"bin/{name}"] = program
            files.update(libraries_of(program))
        for inside, file in files.items():
            stripped = os.path.join(folder, os.path.basename(inside))
            subprocess.run(["strip", "-o", stripped, file], check=True)
            image.program(inside, stripped)
    image.write(path)


def printable(line):
    """Without what a terminal would act on (the firmware clears the screen)."""
    return re.sub(r"[^\x20-\x7e]", "", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc", "", line))


class Console:
    """Lines of a process, until it ends or time is up. Shows what people can read."""

    def __init__(self, process, timeout, show):
        self.lines = []
        self._show = show
        self._inside = False
        incoming = queue.Queue()

        def read():
            for raw in process.stdout:
                incoming.put(raw.decode("utf-8", "replace").rstrip("\r\n"))
            incoming.put(None)

        threading.Thread(target=read, daemon=True).start()
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = incoming.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self._add(f"vm: ended after {timeout} s; the line above shows where it was")
                break
            if line is None:
                break
            self._add(line)
            if line == "@@ done":
                break
        process.kill()
        process.wait()

    def _add(self, line):
        self.lines.append(line)
        if line.startswith("@@ begin "):
            self._inside = True
        if self._show and not self._inside:
            print(f"  | {printable(line)}", flush=True)
        if line.startswith("@@ end "):
            self._inside = False

    def reached_init(self):
        return any(line.startswith("@@ ") for line in self.lines)


def is_unbootable_elf(lines):
    """Whether QEMU says that it cannot boot this kind of image."""
    return any("without PVH ELF Note" in line for line in lines)


def boot(kernel, initramfs, timeout, append, show):
    """The console's lines. Where our first program never ran, once more on a plainer
    machine: a processor with everything is more than some old kernels take."""
    for attempt, cpu in enumerate(CPUS):
        # On a busy machine no tick may come while the kernel tries its timer, which then panics.
        words = f"console=ttyS0 panic=-1 no_timer_check {append}"
        words += " loglevel=7 earlyprintk=ttyS0,115200" if attempt else " loglevel=4"
        # Without a script interpreter in the kernel (CONFIG_BINFMT_SCRIPT), too.
        words += " rdinit=/bin/busybox -- sh /init"
        # Its processors take turns in one thread: with a thread for each, QEMU runs now and then
        # a breakpoint that the kernel has just patched away (tracepoints come and go), and
        # the kernel panics.
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=single", *cpu, "-m", "768",
                   "-nographic", "-nodefaults", "-serial", "stdio", "-monitor", "none",
                   "-no-reboot", "-kernel", kernel, "-initrd", initramfs, "-append", words]
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        console = Console(qemu, timeout, show)
        if console.reached_init() or is_unbootable_elf(console.lines):
            break
        if show and not attempt:
            print("vm: our first program never ran; once more, on a plainer machine", flush=True)
    return console.lines


def run_on_host(programs, ways, producer_args, timeout):
    """The lines of trace.sh on this machine's own kernel; what it mounts is seen by it alone."""
    script = ("mount --make-rprivate /sys; mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; "
              'exec busybox sh "$0" "$@"')
    # Whatever else this machine does must not fill the perf buffers.
    own = "--allow-names traffic-client,traffic-server"
    environment = dict(os.environ, PATH=f"{os.path.abspath(programs)}:{os.environ['PATH']}",
                       EBPF_PRODUCER_ARGS=f"{own} {producer_args}")
    process = subprocess.Popen(["unshare", "--mount", "--propagation", "unchanged",
                                "busybox", "sh", "-c", script,
                                os.path.join(HERE, "trace.sh"), *ways], env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    return Console(process, timeout, False).lines
