#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Traces the same traffic on other kernels, in QEMU, with every attach back end and with offsets
from BTF and from the search, and compares.

One kernel image, or (--matrix) Debian's kernels and the one that runs here. Exit code 0:
everything that the traffic did was captured, field by field, the same in every way (or, where a
kernel leaves runs of the programs out, counted); 1: not; 77:
cannot run here (no QEMU, no kernel to be had).
"""

import argparse
import concurrent.futures
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

import debian_kernels  # noqa: E402
import machine  # noqa: E402
from outcome import (DIRECT_SINCE, PROBLEMS_SHOWN, Outcome, Transcript,  # noqa: E402
                     differences, is_packed, offset_differences)

WAYS = ("direct:btf", "raw:btf", "raw:search", "tracepoint:btf", "tracepoint:search")
# What a user gets who names nothing comes first.
WAYS_OF_ONE = ("auto:auto", *WAYS)
MACHINES_AT_ONCE = 2
EXIT_SKIP = 77


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(EXIT_SKIP)


class Kernel:
    """One kernel's outcomes."""

    def __init__(self, name, lines, ways, strict):
        self.name = name
        self.transcript = Transcript(lines)
        if self.transcript.facts.get("btf") != "yes" and not strict:
            ways = [way for way in ways if not way.endswith(":btf")]
        if self.transcript.version() < DIRECT_SINCE and strict:
            ways = [way for way in ways if not way.startswith("direct:")]
        self.ran = "kernel" in self.transcript.sections
        self.outcomes = [Outcome(self.transcript, way) for way in ways] if self.ran else []
        self.offset_problems = offset_differences(self.outcomes)
        self._strict = strict

    def is_good(self):
        kinds = [outcome.kind for outcome in self.outcomes]
        allowed = ("good",) if self._strict else ("good", "absent")
        return "good" in kinds and all(kind in allowed for kind in kinds) and \
            not self.offset_problems

    def table(self):
        """One line for each way."""
        for outcome in self.outcomes:
            records = f"{outcome.captured}/{outcome.expected}" if outcome.expected else "-"
            if not outcome.is_complete:
                records += f", {outcome.skipped} skipped"
            yield (self.transcript.release, *outcome.way.split(":"), outcome.attach,
                   outcome.source, records, str(len(outcome.problems)), outcome.kind)

    def explain(self):
        """What is not as it must be, for people."""
        if machine.is_unbootable_elf(self.transcript.lines):
            yield "this is an uncompressed vmlinux without a PVH note (CONFIG_PVH), which QEMU " \
                "cannot boot; give the bzImage of the same build (arch/x86/boot/bzImage, vmlinuz)"
        elif not self.ran:
            reached = any(line.startswith("@@ ") for line in self.transcript.lines)
            yield "it did not come as far as starting the producer; the last lines:" if reached \
                else "the kernel never came as far as our first program; its last lines:"
            yield from ("  " + machine.printable(line) for line in self.transcript.lines[-25:])
        elif "@@ done" not in self.transcript.lines and self.transcript.release != os.uname()[2]:
            yield "the machine ended before its time; what it said last, apart from data:"
            said = [line for line in self.transcript.lines if not is_packed(line)]
            yield from ("  " + machine.printable(line) for line in said[-40:])
        for outcome in self.outcomes:
            if outcome.kind == "good":
                continue
            yield f"{outcome.way}: {outcome.kind}"
            shown = [part.strip() for problem in outcome.problems for part in problem.split(" | ")]
            yield from ("  " + line for line in shown[:PROBLEMS_SHOWN])
            if len(shown) > PROBLEMS_SHOWN:
                yield f"  and {len(shown) - PROBLEMS_SHOWN} more"
            for name in ("refusal", "producer.err", "tail.err"):
                if outcome.kind in ("refused", "wrong") and outcome.text(name):
                    yield f"  --- {name}"
                    yield from ("  " + machine.printable(line)
                                for line in outcome.text(name).splitlines()[-60:])
                    break
        yield from ("offsets: " + line for line in self.offset_problems)


def print_table(kernels):
    rows = [("kernel", "--attach", "--offsets", "attach", "offsets", "records", "wrong", "")]
    for kernel in kernels:
        rows += list(kernel.table()) or [(kernel.name, "-", "-", "-", "-", "-", "-", "never ran")]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip())


def report(kernels):
    """Prints everything; gives whether it is as it must be."""
    first = next((outcome for kernel in kernels for outcome in kernel.outcomes
                  if outcome.kind == "good" and outcome.is_complete), None)
    for kernel in kernels:
        for outcome in kernel.outcomes:
            if first and outcome.kind == "good":
                outcome.problems += differences(outcome, first)
                outcome.kind = "wrong" if outcome.problems else "good"
    print()
    print_table(kernels)
    for kernel in kernels:
        missing = kernel.transcript.missing
        if missing:
            print(f"{kernel.name}: not in this kernel: {', '.join(missing)}")
        if kernel.ran and not all(outcome.has_ipv6 for outcome in kernel.outcomes):
            print(f"{kernel.name}: no IPv6: IPv4 only")
        if kernel.is_good():
            sources = sorted({outcome.source for outcome in kernel.outcomes if outcome.offsets()})
            if len(sources) > 1:
                print(f"{kernel.name}: offsets by {' and '.join(sources)} are the same")
            continue
        print(f"{kernel.name}: not as it must be")
        for line in kernel.explain():
            print(f"  {line}")
    good = all(kernel.is_good() for kernel in kernels)
    print("vm: everything was captured or counted, every field as it must be" if good else "vm: FAILED")
    return good


class Runner:
    """Boots kernels with the options given."""

    def __init__(self, options, ways):
        self.options = options
        self.ways = ways
        self._initramfs = os.path.join(options.work, f"initramfs-{os.getpid()}.cpio")

    def __enter__(self):
        machine.build_initramfs(self.options.programs, self.ways, self.options.producer_args,
                                self._initramfs)
        return self

    def __exit__(self, *_):
        if os.path.exists(self._initramfs):
            os.remove(self._initramfs)

    def boot(self, name, image, strict, show):
        started = time.monotonic()
        lines = machine.boot(image, self._initramfs, self.options.timeout, self.options.append,
                             show)
        print(f"vm: {name}: {time.monotonic() - started:.0f} s", flush=True)
        return Kernel(name, lines, self.ways, strict)

    def boot_series(self, series):
        image = debian_kernels.kernel_image(series, self.options.work)
        return self.boot(f"Linux {series}", image, True, False)

    def trace_host(self):
        started = time.monotonic()
        lines = machine.run_on_host(self.options.programs, self.ways, self.options.producer_args,
                                    self.options.timeout)
        print(f"vm: the kernel that runs here: {time.monotonic() - started:.0f} s", flush=True)
        return Kernel("the kernel that runs here", lines, self.ways, True)


def run_matrix(options):
    """Debian's kernels, two machines side by side, and this one's own."""
    with Runner(options, WAYS) as runner, \
            concurrent.futures.ThreadPoolExecutor(MACHINES_AT_ONCE) as pool:
        jobs = [pool.submit(runner.boot_series, series) for series in options.series]
        kernels, reasons = [], []
        for job in jobs:
            try:
                kernels.append(job.result())
            except debian_kernels.Unavailable as reason:
                reasons.append(str(reason))
        if os.geteuid() == 0:
            kernels.append(runner.trace_host())
        else:
            print("vm: not root: the kernel that runs here is left out")
        good = report(kernels)
        if good and reasons:
            skip(f"not all of Debian's kernels can be had: {'; '.join(reasons)}")
        return good


def run_one(options):
    try:
        image = options.kernel or debian_kernels.kernel_image("6.1", options.work)
    except debian_kernels.Unavailable as reason:
        skip(f"no kernel was given, and Debian's cannot be had: {reason}")
    if not os.path.isfile(image):
        print(f"vm: there is no kernel image '{image}'", file=sys.stderr)
        return False
    with Runner(options, WAYS_OF_ONE) as runner:
        print(f"vm: booting {image}", flush=True)
        return report([runner.boot(os.path.basename(image), image, False, True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", nargs="?", help="a bzImage; default: Debian's 6.1")
    parser.add_argument("--matrix", action="store_true", help="Debian's kernels and this one's")
    parser.add_argument("--series", nargs="+", choices=debian_kernels.SERIES,
                        default=debian_kernels.MATRIX, help="which of Debian's for --matrix")
    parser.add_argument("--programs", required=True, help="folder of the programs")
    parser.add_argument("--work", required=True, help="folder for what is made and downloaded")
    parser.add_argument("--producer-args", default="", help="more options for ebpf-producer")
    parser.add_argument("--append", default="", help="more words for the kernel's command line")
    parser.add_argument("--timeout", type=int, default=900, help="seconds until it is given up")
    options = parser.parse_args()

    for tool in ("qemu-system-x86_64", "busybox", "strip"):
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    os.makedirs(options.work, exist_ok=True)
    return 0 if (run_matrix if options.matrix else run_one)(options) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
