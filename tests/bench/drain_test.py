#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs drain_bench --quick and checks that its accounts add up; not whether it is fast.

Usage: drain_test.py DRAIN_BENCH JSON_FILE
"""
import json
import subprocess
import sys


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def check_row(part, row):
    for account in row["accounts"]:
        lost = sum(account[f"lost_{where}"] for where in ("in_buffers", "at_ring", "by_consumer"))
        check(account["wrong"] == 0, f"{part}: wrong records in {account}")
        check(account["emitted"] == account["demanded"] > 0, f"{part}: not all emitted in {account}")
        check(account["emitted"] == account["delivered"] + lost, f"{part}: {account}")
        check(account["adds_up"], f"{part}: {account}")


def main():
    run = subprocess.run([sys.argv[1], "--quick", "--json", sys.argv[2]], timeout=110, check=False)
    if run.returncode == 77:
        sys.exit(77)
    check(run.returncode == 0, f"drain_bench exits with {run.returncode}")
    with open(sys.argv[2], encoding="utf-8") as file:
        document = json.load(file)
    for part in ("rates", "paced", "latency"):
        check(document[part], f"{part} has rows")
        for row in document[part]:
            check_row(part, row)
    check(any(account["delivered"] for row in document["latency"] for account in row["accounts"]),
          "somebody was given an event")
    for row in document["idle"]:
        check(row["cpu_percent"] >= 0 and row["drain_wakeups_per_s"] >= 0, f"idle: {row}")
    check(all("figure" in row for row in document["figures"]), "figures are named")


if __name__ == "__main__":
    main()
