#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what a record costs in instructions, and compares that with what is known.

Usage: instruction_guard.py [--update] [--build "TYPE COMPILER"] BUILD_FOLDER

User space is counted by valgrind, the BPF programs by a machine that runs them in user space, with
their calls of helpers. So neither the computer nor its load matters. More than a tenth above
instructions.json or bpf_instructions.json fails, and so does one more call; --update writes
what was counted there. Exit 77: cannot tell here.
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN = os.path.join(HERE, "instructions.json")
KNOWN_BPF = os.path.join(HERE, "bpf_instructions.json")
DATA = os.path.join(HERE, "..", "data")
RECORDS = 20032  # a few laps of the ring, a multiple of 64
TOLERATED = 1.10
COMPARABLE = "RelWithDebInfo GNU"
# The C library picks its memcpy by the CPU: take the one that every x86-64 has.
PLAIN_MEMCPY = "glibc.cpu.hwcaps=-AVX2,-AVX512VL,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM"

# What is counted: the arguments of fixed_work, and its function.
WORK = {
    "append": (["append"], "append"),
    "take": (["take"], "take"),
    "drain, perf buffer": (["drain_perf"], "drain"),
    "drain, ring buffer": (["drain_ring"], "drain"),
}
for traffic in ("http1", "http2", "dubbo", "mysql", "redis", "kafka", "dns", "decoys"):
    WORK[f"infer, {traffic}"] = (["infer", os.path.join(DATA, f"{traffic}.ebpfrec")], "infer")


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def count(program, arguments, function):
    work, *more = arguments
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
               f"--toggle-collect=ebpf::bench::measured_{function}*", program, work, str(RECORDS),
               *more]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         env=dict(os.environ, GLIBC_TUNABLES=PLAIN_MEMCPY), check=False)
    found = re.search(r"Collected : (\d+)", run.stdout)
    if run.returncode != 0 or not found or int(found[1]) == 0:
        sys.exit(f"FAIL: {' '.join(command)} exits with {run.returncode}:\n{run.stdout}")
    return round(int(found[1]) / RECORDS, 1)


def count_all(build):
    program = os.path.join(build, "tests", "fixed_work")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {name: pool.submit(count, program, *work) for name, work in WORK.items()}
        return {name: job.result() for name, job in jobs.items()}


def count_bpf(build):
    """{back end: {work: {"instructions": …, "tail_calls": …, "helpers": {name: calls}}}}"""
    command = [os.path.join(build, "tests", "bpf_work"), os.path.join(build, "bpf")]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         check=False)
    if run.returncode != 0:
        sys.exit(f"FAIL: {' '.join(command)} exits with {run.returncode}:\n{run.stderr}")
    return json.loads(run.stdout)


def compare(name, counted, known):
    """What is worse; prints both."""
    if known is None:
        return [f"{name} is not known yet"]
    print(f"{name}: {counted} instructions, {known} known ({counted / known - 1:+.1%})")
    if counted <= TOLERATED * known:
        return []
    return [f"{name}: {counted} instructions instead of {known} ({counted / known - 1:+.1%})"]


def compare_bpf(name, counted, known):
    if known is None:
        return [f"{name} is not known yet"]
    worse = compare(name, counted["instructions"], known["instructions"])
    if counted["tail_calls"] > known["tail_calls"]:
        worse.append(f"{name}: {counted['tail_calls']} tail calls instead of "
                     f"{known['tail_calls']}")
    for helper in sorted({*counted["helpers"], *known["helpers"]}):
        now, before = counted["helpers"].get(helper, 0), known["helpers"].get(helper, 0)
        if now != before:
            print(f"  {helper}: {now} calls instead of {before}")
        if now > before:
            worse.append(f"{name}: {now} calls of {helper} instead of {before}")
    return worse


def by_work(counted):
    return {(end, work): counts for end, works in counted.items() for work, counts in works.items()}


def write(path, counted):
    """One line for each work."""
    depth = 2 if isinstance(next(iter(counted.values())), dict) else 1

    def lines(part, level):
        if level == depth:
            return json.dumps(part)
        inner = ",\n".join(f"{'  ' * (level + 1)}{json.dumps(name)}: {lines(each, level + 1)}"
                           for name, each in part.items())
        return f"{{\n{inner}\n{'  ' * level}}}"

    with open(path, "w", encoding="utf-8") as file:
        file.write(lines(counted, 0) + "\n")


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--build", default=COMPARABLE)
    parser.add_argument("folder")
    options = parser.parse_args()
    bpf = count_bpf(options.folder)
    if options.update:
        write(KNOWN_BPF, bpf)
    worse = []
    known_bpf = by_work(read(KNOWN_BPF))
    for (end, work), counts in by_work(bpf).items():
        worse += compare_bpf(f"{end}: {work}", counts, known_bpf.get((end, work)))

    why_not = None
    if options.build.strip() != COMPARABLE:
        why_not = f"user space is known for {COMPARABLE} only, this is {options.build.strip()}"
    elif os.uname().machine != "x86_64":
        why_not = f"user space is known for x86_64 only, this is {os.uname().machine}"
    else:
        counted = count_all(options.folder)
        if options.update:
            write(KNOWN, counted)
        known = read(KNOWN)
        for name, instructions in counted.items():
            worse += compare(name, instructions, known.get(name))
    if worse:
        sys.exit("FAIL: it costs more than is known; if that is meant: make bench-check UPDATE=1\n"
                 + "\n".join(f"  {line}" for line in worse))
    if why_not:
        skip(why_not)


if __name__ == "__main__":
    main()
