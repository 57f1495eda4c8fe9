#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs trace_bench --quick and checks what it says; not whether it is fast.

Usage: trace_test.py TRACE_BENCH OUTPUT.json
"""
import json
import subprocess
import sys

PAIRS = 8 * 300  # of each round


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def check_row(row, rounds):
    name = row["traced_by"]
    check("failure" not in row, f"{name}: {row.get('failure')}")
    for work in ("pair", "write_null", "write_file", "getuid"):
        check(row[f"{work}_ns"]["min"] > 0, f"{name}: {work} takes time")
        check(len(row[f"{work}_added_ns"]["each"]) == rounds, f"{name}: {work} in every round")
    if "emitted" not in row:
        return
    check(row["emitted"] >= 2 * PAIRS * rounds, f"{name}: {row['emitted']} events are too few")
    check(row["published"] + row["lost"] == row["emitted"],
          f"{name}: {row['published']} published + {row['lost']} lost is not {row['emitted']}")


def main():
    run = subprocess.run([sys.argv[1], "--quick", "--json", sys.argv[2]], timeout=110, check=False)
    if run.returncode == 77:
        sys.exit(77)
    check(run.returncode == 0, f"trace_bench exits with {run.returncode}")
    with open(sys.argv[2], encoding="utf-8") as file:
        document = json.load(file)
    rows = document["cost"]
    ours = [row for row in rows if "emitted" in row]
    for row in rows:
        if row["traced_by"].startswith("direct") and "failure" in row:
            print(f"{row['traced_by']}: {row['failure']}")  # an older kernel
            continue
        check_row(row, document["settings"]["rounds"])
    check(len(ours) >= 4, f"{len(ours)} ways to trace are too few")
    check(all("figure" in row for row in document["figures"]), "figures are named")


if __name__ == "__main__":
    main()
