#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs ring_bench --quick and checks what it says; not whether it is fast.

Usage: bench_test.py RING_BENCH OUTPUT.json
"""
import json
import subprocess
import sys

TRANSPORTS = {"ring", "bare memory", "iceoryx", "message_queue", "seqpacket", "pipe"}


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def check_throughput(rows):
    check({row["transport"] for row in rows} == TRANSPORTS, "every transport has a row")
    for row in rows:
        if "failure" in row:
            continue
        name = f"{row['transport']} {row['mode']} 1->{row['consumers']}"
        check(row["errors"] == 0, f"{name}: {row['errors']} wrong records")
        check(row["published"] > 0, f"{name}: nothing was published")
        # Nothing goes unmentioned: each consumer's share is delivered or lost.
        due = row["published"] * row["consumers"]
        check(row["delivered"] + row["lost"] == due,
              f"{name}: {row['delivered']} delivered + {row['lost']} lost is not {due}")
        if row["mode"] == "lossless":
            check(row["lost"] == 0, f"{name}: {row['lost']} records lost")


def check_latency(rows):
    for row in rows:
        if "failure" in row:
            continue
        name = f"latency of {row['transport']}, {row['reader']}"
        check(row["errors"] == 0 and row["lost"] == 0, f"{name}: wrong or lost records")
        check(row["samples"] > 0, f"{name}: no samples")
        low, middle, high = (row[q]["median"] for q in ("p50_ns", "p99_ns", "p999_ns"))
        check(0 < low <= middle <= high, f"{name}: {low}, {middle}, {high} is not in order")


def check_producer_cpu(rows):
    check(any("hostile" in row["they"] for row in rows), "a hostile consumer was there")
    check(any("stopped" in row["they"] for row in rows), "a stopped consumer was there")
    for row in rows:
        check("failure" not in row, f"producer's CPU time: {row.get('failure')}")
        check(row["errors"] == 0, f"producer's CPU time: {row['errors']} wrong records")
        check(row["ring_ns"]["median"] > 0 and row["memcpy_ns"]["median"] > 0, "time passes")


def main():
    run = subprocess.run([sys.argv[1], "--quick", "--json", sys.argv[2]], timeout=110, check=False)
    check(run.returncode == 0, f"ring_bench exits with {run.returncode}")
    with open(sys.argv[2], encoding="utf-8") as file:
        document = json.load(file)
    check(document["errors"] == 0, f"{document['errors']} errors")
    for key in ("cpu", "cpus", "kernel", "compiler"):
        check(document["machine"].get(key), f"it does not say on which {key} it measured")
    for part in ("throughput", "latency"):
        for row in document[part]:
            if "failure" in row:
                check(row["failure"].startswith("not there: "), f"{part}: {row['failure']}")
                print(f"{row['transport']}: {row['failure']}")
    check_throughput(document["throughput"])
    check_latency(document["latency"])
    check_producer_cpu(document["producer_cpu"])
    check(all("figure" in row for row in document["figures"]), "figures are named")


if __name__ == "__main__":
    main()
