#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs server_bench --quick and checks that its accounts add up; not whether anything is fast.

Usage: server_test.py FILE     where its figures go
"""
import json
import os
import subprocess
import sys

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server_bench.py")
OURS = ("1 consumer", "server only")


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def check_ours(name, row):
    """What is not there was lost, and the loss is known. Strangers' traffic may be there, too."""
    wanted = row["expected_per_request"]["median"] * row["requests"]["median"]
    got = row["captured_per_request"]["median"] * row["requests"]["median"]
    check(got + sum(row["lost"].values()) >= 0.999 * wanted,
          f"{name}: {got:.0f} records and {row['lost']} lost, {wanted:.0f} are wanted")
    for role in ("server", "client", "tracer", "consumers"):
        check(row[f"{role}_us"]["median"] > 0, f"{name}: the {role} costs no time")


def check_workload(part):
    check("failure" not in part, f"{part['workload']}: {part.get('failure')}")
    rows = {row["mode"]: row for row in part["rows"]}
    for mode in ("untraced", "tcpdump", *OURS):
        name = f"{part['workload']}, {mode}"
        check(mode in rows, f"{name}: no such row")
        row = rows[mode]
        check("failure" not in row, f"{name}: {row.get('failure')}")
        sent = part["rate"] * part["seconds"]
        check(abs(row["requests"]["median"] + row["timeouts"] - sent) <= part["batch"],
              f"{name}: {row['requests']} requests, {sent} were due")
        check(0 < row["p50_us"]["median"] <= row["p99_us"]["median"], f"{name}: latency")
        if mode in OURS:
            check_ours(name, row)
    check(rows["tcpdump"]["packets_per_request"]["median"] > 0, "tcpdump sees packets")


def main():
    path = sys.argv[1]
    done = subprocess.run([sys.executable, "-u", BENCH, "--quick", "--json", path], check=False)
    if done.returncode == 77:
        sys.exit(77)
    check(done.returncode == 0, f"server_bench exits with {done.returncode}")
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    check(len(document["workloads"]) >= 2, "two workloads")
    for part in document["workloads"]:
        check_workload(part)
    check(all("reached" in row for row in document["figures"][:2]), "figures of nginx")


if __name__ == "__main__":
    main()
