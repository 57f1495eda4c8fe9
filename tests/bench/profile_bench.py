#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the instructions go: of user space by function, of the BPF programs by system call.

Usage: profile_bench.py [--json FILE] [--quick] [--build FOLDER]

Valgrind counts fixed_work, and bpf_work itself, so neither the machine nor its load matters.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

import bench_json
import instruction_guard as guard

BUILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")
# Work of fixed_work, and what people call it.
PARTS = {"drain_ring": "from a BPF ring buffer into the ring",
         "drain_perf": "from a perf buffer into the ring",
         "take": "from the ring to a callback"}
SHOWN = 0.01  # functions with a smaller share are summed up


def short(name):
    """A C++ function without our namespaces, its arguments and what it returns."""
    bare = name.replace("(anonymous namespace)::", "")
    plain = re.sub(r"[<(].*", "", bare).split()[-1].removeprefix("ebpf::").removeprefix("bench::")
    return plain + (", lambda" if "{lambda" in bare else "")


def profile(build, work, records, folder):
    """[(function, instructions per record)], the dearest first."""
    path = os.path.join(folder, work)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}",
               f"--toggle-collect=ebpf::bench::measured_{work.split('_')[0]}*",
               os.path.join(build, "tests", "fixed_work"), work, str(records)]
    environment = dict(os.environ, GLIBC_TUNABLES=guard.PLAIN_MEMCPY)
    subprocess.run(command, capture_output=True, env=environment, check=True)
    return functions(path, records)


def functions(path, records):
    """Sums a callgrind file by function: its own instructions."""
    names, costs, current, skip = {}, {}, None, False
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("fn="):
                number, _, name = line[3:].strip().partition(" ")
                names.setdefault(number, name or number)
                current = names[number]
            elif line.startswith("cfn="):
                number, _, name = line[4:].strip().partition(" ")
                if name:
                    names.setdefault(number, name)
            elif line.startswith("calls="):
                skip = True  # the next line holds what the callee cost
            elif current and re.match(r"[+\-*\d]", line):
                if not skip:
                    costs[current] = costs.get(current, 0) + int(line.split()[1])
                skip = False
    found = {}
    for name, cost in costs.items():
        found[short(name)] = found.get(short(name), 0) + cost / records
    return sorted(found.items(), key=lambda each: -each[1])


def rows(build, work, records, folder):
    found = profile(build, work, records, folder)
    whole = sum(cost for _, cost in found)
    shown = [(name, cost) for name, cost in found if cost >= SHOWN * whole]
    rest = whole - sum(cost for _, cost in shown)
    named = [{"function": name, "instructions": round(cost, 1), "share_percent": 100 * cost / whole}
             for name, cost in shown]
    if rest > 0.05:
        named.append({"function": "all others", "instructions": round(rest, 1),
                      "share_percent": 100 * rest / whole})
    return named


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", default=BUILD)
    options, _ = parser.parse_known_args()  # options of the other benchmarks mean nothing here
    if not shutil.which("valgrind"):
        print("SKIP: no valgrind")
        sys.exit(77)
    records = 640 if options.quick else guard.RECORDS
    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    document = bench_json.begin_document("profile_bench", {"valgrind": version.stdout.strip()},
                                         {"records": records})
    document["profile"] = {}
    with tempfile.TemporaryDirectory() as folder:
        for work, title in PARTS.items():
            document["profile"][title] = rows(options.build, work, records, folder)
    document["bpf_calls"] = [
        {"back_end": end, "call": work, "instructions": counts["instructions"],
         "helper_calls": sum(counts["helpers"].values()), "tail_calls": counts["tail_calls"]}
        for (end, work), counts in guard.by_work(guard.count_bpf(options.build)).items()]
    document["figures"] = []
    for title, functions_there in document["profile"].items():
        print(f"\n{title}, instructions per event")
        for row in functions_there:
            print(f"  {row['function']:60}{row['instructions']:8.1f}{row['share_percent']:7.1f} %")
    print("\nBPF programs, per system call")
    for row in document["bpf_calls"]:
        print(f"  {row['back_end'] + ': ' + row['call']:70}{row['instructions']:6} instructions"
              f"{row['helper_calls']:4} calls of helpers")
    if options.json:
        bench_json.write(document, options.json)


if __name__ == "__main__":
    main()
