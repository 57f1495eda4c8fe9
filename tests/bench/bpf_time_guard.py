#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the run time of the BPF programs with what is known, in units of a reference program.

Usage: bpf_time_guard.py [--update] [--tolerate RATIO] [--json FILE] BUILD_FOLDER

bpf_bench runs a program with a fixed piece of work between all others, so what slows the machine
down slows both. The ratios in bpf_run_time.json hold for the processor and the kernel that they
were taken on; elsewhere they are shown and not judged. More than a tenth above fails, if several
attempts say so: what disturbs only adds, so the least of them counts. Exit 77: cannot tell here.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

KNOWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpf_run_time.json")
TOLERATED = 1.10
SLACK = 0.04  # of the reference, for programs that take but a few nanoseconds
ATTEMPTS = 5
SKIPPED = 77


def machine():
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping")
    about = {}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                about.setdefault(name.strip(), value.strip())
    return {"cpu": " ".join(about.get(name, "?") for name in wanted),
            "kernel": os.uname().release}


def measure(build, rounds, keep=None):
    """{(back end, call): ratio}; keeps what bpf_bench writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bpf_bench.json")
        command = [os.path.join(build, "bin", "bpf_bench"), "--rounds", str(rounds),
                   "--objects", os.path.join(build, "bpf"), "--json", path]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             check=False)
        if run.returncode == SKIPPED:
            print(run.stdout, end="")
            sys.exit(SKIPPED)
        if run.returncode != 0:
            sys.exit(f"FAIL: {' '.join(command)} exits with {run.returncode}:\n{run.stdout}")
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)["run_time"]
        if keep:
            shutil.copy(path, keep)
    return {(row["back_end"], row["call"]): row["until_here_ratio"] for row in rows
            if row["is_last"]}


def worse(best, known, tolerated=TOLERATED):
    """[(back end, call)] whose ratio is above what is tolerated."""
    return [key for key, ratio in best.items()
            if key in known and ratio > known[key] * tolerated + SLACK]


def read_known():
    with open(KNOWN, encoding="utf-8") as file:
        document = json.load(file)
    return document, {(end, call): ratio for end, calls in document["ratios"].items()
                      for call, ratio in calls.items()}


def write_known(best):
    ratios = {}
    for (end, call), ratio in best.items():
        ratios.setdefault(end, {})[call] = round(ratio, 3)
    with open(KNOWN, "w", encoding="utf-8") as file:
        json.dump({**machine(), "ratios": ratios}, file, indent=2)
        file.write("\n")


def least(one, other):
    return {key: min(ratio, other.get(key, ratio)) for key, ratio in one.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--tolerate", type=float, default=TOLERATED, metavar="RATIO")
    parser.add_argument("--json", help="keep the figures of the first attempt here")
    parser.add_argument("folder")
    options = parser.parse_args()
    best = measure(options.folder, 6 if options.update else 2, options.json)
    if options.update:
        write_known(least(best, measure(options.folder, 6)))
        return
    document, known = read_known()
    here = machine()
    is_judged = all(document[name] == here[name] for name in here)
    attempts = 1
    while is_judged and worse(best, known, options.tolerate) and attempts < ATTEMPTS:
        best = least(best, measure(options.folder, 2 * attempts))
        attempts += 1
    for key, ratio in best.items():
        before = f", {known[key]:.3f} known" if key in known else ""
        print(f"{key[0]}: {key[1]}: {ratio:.3f} of the reference{before}")
    if not is_judged:
        print(f"not judged: known of {document['cpu']}, {document['kernel']}; "
              f"this is {here['cpu']}, {here['kernel']}")
        return
    slower = [f"  {end}: {call}: {best[end, call]:.3f} of the reference instead of "
              f"{known[end, call]:.3f}" for end, call in worse(best, known, options.tolerate)]
    slower += [f"  {end}: {call}: is not known yet" for end, call in best if (end, call) not in known]
    if slower:
        sys.exit(f"FAIL: BPF programs run longer than is known, in {attempts} attempts; if that is "
                 "meant: make bench-check UPDATE=1\n" + "\n".join(slower))


if __name__ == "__main__":
    main()
