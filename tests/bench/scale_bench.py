#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How costs grow: with consumers, open sockets, buffers and lanes, threads that make traced calls,
and memory with each option. A real producer, its readers, and one traced process on a network of
their own. Needs root.

    scale_bench.py [--json FILE] [--rounds N] [--only PART]... [--keep] [--quick]
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

import bench_json
import tables
from scale_crowd import measure_consumers, measure_threads
from scale_lib import Worker, lib
from scale_memory import measure_buffers, measure_memory, measure_rings
from scale_sockets import measure_sockets

PARTS = {"consumers": measure_consumers, "sockets": measure_sockets, "threads": measure_threads,
         "buffers": measure_buffers, "rings": measure_rings, "memory": measure_memory}

FULL = {"consumers": (0, 1, 2, 4, 8, 16), "consumer_pairs": 8000,
        "sockets": (1, 10, 100, 1000, 10_000, 100_000, 500_000), "socket_entries": 600_000,
        "socket_pairs": 8000, "idle_s": 2.0, "close": 500, "forget_s": 2.0,
        "threads": (1, 2, 4, 8, 16, 32, 64, 128, 256), "thread_pairs": 20_480,
        "pages": (1, 4, 16, 64, 128, 512, 2048, 8192), "burst_pairs": 20_000,
        "rings": ((2, 1), (1024, 1), (65536, 1), (1048576, 1), (65536, 2), (65536, 8), (65536, 64)),
        "ring_pairs": 10_000, "memory_rows": None}

QUICK = {"consumers": (0, 2), "consumer_pairs": 400, "sockets": (1, 100), "socket_entries": 1000,
         "socket_pairs": 400, "idle_s": 0.1, "close": 10, "forget_s": 0.5, "threads": (1, 4),
         "thread_pairs": 400, "pages": (4,), "burst_pairs": 400, "rings": ((1024, 2),),
         "ring_pairs": 400, "memory_rows": 1}


def ratio(rows, key, many, few, name):
    """How many times as much it costs at the last count as at the first; None if not measured."""
    found = {row[name]: row[key]["median"] for row in rows or ()}
    return found[many] / found[few] if many in found and found.get(few) else None


def figures(document):
    """A curve that is flat has a ratio of about one."""
    sockets = {row["sockets"]: row for row in document.get("sockets", [])}
    last = sockets.get(500_000)
    return [
        bench_json.figure("added to a pair, 16 consumers against none", "times",
                          ratio(document.get("consumers"), "pair_added_ns", 16, 0, "consumers"),
                          at_most=1.1),
        bench_json.figure("added to a pair on one socket, 500,000 known against 1", "times",
                          ratio(document.get("sockets"), "one_added_ns", 500_000, 1, "sockets"),
                          at_most=1.1),
        bench_json.figure("producer's CPU while idle, 500,000 sockets known", "%",
                          last and last["idle_percent"], at_most=1),
        bench_json.figure("added to a pair, 256 threads against 1", "times",
                          ratio(document.get("threads"), "pair_added_ns", 256, 1, "threads"),
                          at_most=1.5)]


def print_rows(name, rows):
    """One line a row; medians where there are rounds."""
    print(f"\n{name}")
    for row in rows:
        cells = []
        for key, value in row.items():
            if isinstance(value, dict):
                value = value.get("median", value.get("gone"))
            cells.append(f"{key} {value:,.1f}" if isinstance(value, float) else f"{key} {value}")
        print("  " + "  ".join(cells))


def run(options, plan):
    document = bench_json.begin_document("scale_bench", versions(), {
        "rounds": plan["rounds"], "quick": options.quick})
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-scale-"))
    try:
        lib.enter_own_network()
        for name in options.only or PARTS:
            worker = Worker()
            worker.open(1)
            document[name] = PARTS[name](bench, worker, plan)
            worker.end()
            print_rows(name, document[name])
    except Exception:
        bench.show()
        raise
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)
    return document


def versions():
    said = subprocess.run([lib.program("ebpf-producer"), "--version"], capture_output=True,
                          text=True, check=True).stdout
    return {"libebpf": said.split()[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part")
    parser.add_argument("--keep", action="store_true",
                        help="the file keeps the parts that this run does not measure")
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it work at all")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIP: needs root")
        return 77
    lib.mount_tracefs()
    plan = {**(QUICK if options.quick else FULL), "rounds": 1 if options.quick else options.rounds}
    try:
        document = run(options, plan)
    except lib.Skip as reason:
        print(f"SKIP: {reason}")
        return 77
    except lib.Failure as failure:
        print(f"FAIL: {failure}")
        return 1
    if options.keep and options.json and os.path.exists(options.json):
        kept = bench_json.load(options.json)
        document = {**document, **{name: kept[name] for name in PARTS
                                   if name in kept and name not in document}}
    document["figures"] = figures(document)
    tables.print_figures({"scale_bench": document})
    if options.json:
        bench_json.write(document, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
