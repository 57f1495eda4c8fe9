#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions that a record costs, and compares them with what is known.

Usage: instruction_guard.py [--update] [--build "TYPE COMPILER"] FIXED_WORK

Valgrind counts, so neither the machine nor its load matters. More than a tenth above
instructions.json fails; --update writes what was counted there. Exit 77: cannot tell here.
"""
import argparse
import json
import os
import re
import subprocess
import sys

KNOWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
WORK = ("append", "take", "drain")
RECORDS = 20032  # a few laps of the ring, a multiple of 64
TOLERATED = 1.10
COMPARABLE = "RelWithDebInfo GNU"
# The C library picks its memcpy by the CPU: take the one that every x86-64 has.
PLAIN_MEMCPY = "glibc.cpu.hwcaps=-AVX2,-AVX512VL,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM"


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def count(program, work):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
               f"--toggle-collect=ebpf::bench::measured_{work}*", program, work, str(RECORDS)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         env=dict(os.environ, GLIBC_TUNABLES=PLAIN_MEMCPY), check=False)
    found = re.search(r"Collected : (\d+)", run.stdout)
    if run.returncode != 0 or not found or int(found[1]) == 0:
        sys.exit(f"FAIL: {' '.join(command)} exits with {run.returncode}:\n{run.stdout}")
    return int(found[1]) / RECORDS


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--build", default=COMPARABLE)
    parser.add_argument("program")
    options = parser.parse_args()
    if options.build.strip() != COMPARABLE:
        skip(f"counts are known for {COMPARABLE} only, this is {options.build.strip()}")
    if os.uname().machine != "x86_64":
        skip(f"counts are known for x86_64 only, this is {os.uname().machine}")
    counted = {work: round(count(options.program, work), 1) for work in WORK}
    if options.update:
        with open(KNOWN, "w", encoding="utf-8") as file:
            json.dump(counted, file, indent=2)
            file.write("\n")
    with open(KNOWN, encoding="utf-8") as file:
        known = json.load(file)
    failed = False
    for work in WORK:
        change = counted[work] / known[work] - 1
        failed = failed or counted[work] > TOLERATED * known[work]
        print(f"{work}: {counted[work]} instructions per record, {known[work]} known ({change:+.1%})")
    if failed:
        sys.exit("FAIL: a record costs over a tenth more; if that is meant: make bench-check UPDATE=1")


if __name__ == "__main__":
    main()
