#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots a kernel image in QEMU, traces the smoke traffic in it, and compares.

Prints what was captured, and where nothing was, why not. Exit code 0: everything that the traffic
did was captured, field by field; 1: not; 77: cannot run here (no QEMU, no kernel to be had).
"""

import argparse
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

from initramfs import Initramfs  # noqa: E402
from smoke_check import check_smoke  # noqa: E402

PROGRAMS = ("ebpf-producer", "ebpf-tail", "ebpfctl", "ebpf-traffic")
# Sections that are data, not for the eye.
QUIET = ("records.json", "traffic.json")
PROBLEMS_SHOWN = 20
EXIT_SKIP = 77


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(EXIT_SKIP)


def debian_kernel(cache):
    """Debian's own kernel, newest version; downloaded once, never installed."""
    def meta_depends():
        done = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True,
                              text=True, check=False)
        return re.findall(r"Depends: (linux-image-\S+)", done.stdout)

    if not shutil.which("apt-cache"):
        skip("no kernel was given, and this is no Debian to take one from")
    names = meta_depends()
    if not names and os.geteuid() == 0:
        subprocess.run(["apt-get", "-qq", "update"], check=False)
        names = meta_depends()
    known = sorted(name for name in os.listdir(cache) if name.startswith("vmlinuz-"))
    if names and f"vmlinuz-{names[0]}" in known:
        return os.path.join(cache, f"vmlinuz-{names[0]}")
    if names:
        path = download_kernel(names[0], cache)
        if path:
            return path
    if known:
        return os.path.join(cache, known[-1])
    skip("no kernel was given, and Debian's cannot be downloaded")


def download_kernel(package, cache):
    """The kernel image of a Debian package, in the cache; None where it cannot be had."""
    print(f"vm: downloading {package}", flush=True)
    with tempfile.TemporaryDirectory(prefix="libebpf-vm-") as folder:
        os.chmod(folder, 0o755)
        done = subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", package],
                              cwd=folder, capture_output=True, text=True, check=False)
        debs = [name for name in os.listdir(folder) if name.endswith(".deb")]
        if done.returncode != 0 or not debs:
            print(done.stderr.strip())
            return None
        subprocess.run(f"dpkg --fsys-tarfile {shlex.quote(debs[0])} | "
                       "tar -x --wildcards './boot/vmlinuz-*'", shell=True, cwd=folder, check=True)
        (image,) = os.listdir(os.path.join(folder, "boot"))
        path = os.path.join(cache, f"vmlinuz-{package}")
        shutil.copyfile(os.path.join(folder, "boot", image), path + ".new")
        os.replace(path + ".new", path)
        return path


def build_initramfs(programs, producer_args, path):
    image = Initramfs()
    for folder in ("bin", "dev", "etc", "proc", "sys", "tmp", "run", "root"):
        image.folder(folder)
    image.device("dev/console", 5, 1)
    image.device("dev/null", 1, 3)
    image.program("init", os.path.join(HERE, "init"))
    image.program("bin/busybox", shutil.which("busybox"))
    image.text("etc/producer.args", producer_args)
    with tempfile.TemporaryDirectory(prefix="libebpf-vm-") as folder:
        for name in PROGRAMS:
            stripped = os.path.join(folder, name)
            subprocess.run(["strip", "-o", stripped, os.path.join(programs, name)], check=True)
            image.program(f"bin/{name}", stripped)
    image.write(path)


def printable(line):
    """Without what a terminal would act on (the firmware clears the screen)."""
    return re.sub(r"[^\x20-\x7e]", "", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc", "", line))


def boot(kernel, initramfs, timeout, append):
    """Runs the machine; gives its console as lines. Shows what people can read as it comes."""
    # Without cmpxchg16b: QEMU's emulation of it makes guests from 6.12 on panic now and then.
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,-cx16", "-smp", "2", "-m", "512",
               "-nographic", "-nodefaults", "-serial", "stdio", "-monitor", "none", "-no-reboot",
               "-kernel", kernel, "-initrd", initramfs,
               "-append", f"console=ttyS0 panic=-1 loglevel=4 {append}".strip()]
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    incoming = queue.Queue()

    def read():
        for raw in qemu.stdout:
            incoming.put(raw.decode("utf-8", "replace").rstrip("\r\n"))
        incoming.put(None)

    threading.Thread(target=read, daemon=True).start()
    lines, quiet, deadline = [], False, time.monotonic() + timeout
    while True:
        try:
            line = incoming.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            qemu.kill()
            print(f"vm: ended after {timeout} s; the last line above shows where it was")
            break
        if line is None:
            break
        lines.append(line)
        if line.startswith("@@ begin ") and line.endswith(QUIET):
            quiet = True
        elif line.startswith("@@ end "):
            quiet = False
        elif not quiet:
            print(f"  | {printable(line)}", flush=True)
    qemu.wait()
    return lines


def parse(lines):
    """The sections that init printed, and the exit codes of the programs."""
    sections, codes, current = {}, {}, None
    for line in lines:
        if line.startswith("@@ begin "):
            current = line.split()[2]
            sections[current] = []
        elif line.startswith("@@ end "):
            current = None
        elif line.startswith("@@ exit "):
            codes[line.split()[2]] = int(line.split()[3])
        elif current:
            sections[current].append(line)
    return sections, codes


def json_lines(lines):
    """Objects among console lines, and how many lines were none (a kernel message between)."""
    parsed, broken = [], 0
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except ValueError:
            broken += 1
    return parsed, broken


def judge(lines, sections, codes):
    """Prints the outcome; gives whether everything is as it must be."""
    facts = dict(line.split("=", 1) for line in sections.get("kernel", []) if "=" in line)
    if not facts:
        reached = any(line.startswith("@@ step") for line in lines)
        print("vm: it did not come as far as starting the producer" if reached else
              "vm: the kernel never came as far as our first program")
        return False
    print(f"\nvm: Linux {facts.get('release')}, {facts.get('cpus')} CPUs, "
          f"BTF: {facts.get('btf')}")
    if "traffic" not in codes:
        code = codes.get("producer", "none: it did not get ready")
        print(f"vm: nothing was captured: the producer did not start (exit code {code}):")
        for line in sections.get("producer.err", []):
            print(f"  {line}")
        return False
    reports, _ = json_lines(sections.get("traffic.json", []))
    if codes["traffic"] != 0 or not reports:
        print("vm: the traffic itself failed: " + " ".join(sections.get("traffic.err", [])))
        return False
    if not reports[0]["ipv6"]:
        print("vm: this kernel has no IPv6: IPv4 only")
    records, broken = json_lines(sections.get("records.json", []))
    gaps = [record for record in records if "gap" in record]
    records = [record for record in records if "gap" not in record]
    problems, captured, expected = check_smoke(reports[0], records)
    problems += [f"gap in the stream: {gap}" for gap in gaps]
    if broken:
        problems.append(f"{broken} lines of the agent are no JSON")
    problems += [f"{name} ended with exit code {code}" for name, code in codes.items() if code]
    print("vm: captured, of what the traffic did:")
    for key, count in expected.items():
        print(f"  {key:20} {captured.get(key, 0):4} of {count}")
    if problems:
        print("vm: not as it must be:")
        for problem in problems[:PROBLEMS_SHOWN]:
            print(f"  {problem}")
        if len(problems) > PROBLEMS_SHOWN:
            print(f"  and {len(problems) - PROBLEMS_SHOWN} more")
        for name in ("producer.err", "tracer"):
            print(f"--- {name}")
            print("\n".join(sections.get(name, [])))
        return False
    print("vm: everything was captured, every field as it must be")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", nargs="?", help="a bzImage; default: Debian's newest")
    parser.add_argument("--programs", required=True, help="folder of the static programs")
    parser.add_argument("--work", required=True, help="folder for what is made and downloaded")
    parser.add_argument("--producer-args", default="", help="more options for ebpf-producer")
    parser.add_argument("--append", default="", help="more words for the kernel's command line")
    parser.add_argument("--timeout", type=int, default=120, help="seconds until it is given up")
    options = parser.parse_args()

    for tool in ("qemu-system-x86_64", "busybox", "strip"):
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    os.makedirs(options.work, exist_ok=True)
    kernel = options.kernel or debian_kernel(options.work)
    if not os.path.isfile(kernel):
        print(f"vm: there is no kernel image '{kernel}'", file=sys.stderr)
        return 1
    initramfs = os.path.join(options.work, f"initramfs-{os.getpid()}.cpio")
    try:
        build_initramfs(options.programs, options.producer_args, initramfs)
        print(f"vm: booting {kernel}", flush=True)
        started = time.monotonic()
        lines = boot(kernel, initramfs, options.timeout, options.append)
        good = judge(lines, *parse(lines))
        print(f"vm: {time.monotonic() - started:.0f} s")
    finally:
        if os.path.exists(initramfs):
            os.remove(initramfs)
    return 0 if good else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
