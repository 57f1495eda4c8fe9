#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs ctest and closes with the line "N passed, N failed, N skipped".

Tests that load BPF programs, measure, or own the machine's sockets run one at a time, the
others side by side. In CI (CI set) nothing may be skipped: a machine that cannot run a test
must not look as if the test had passed.
"""

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

# One at a time: they look at the whole machine, or need it for themselves.
ALONE = "^(bpf|e2e|vm|stress|fault|bench)$"


def run_ctest(build, name, selection, jobs):
    """Runs one ctest pass; gives its test cases, and whether ctest itself was content."""
    report = os.path.join(os.path.abspath(build), f"junit-{name}.xml")
    if os.path.exists(report):
        os.remove(report)
    command = ["ctest", "--test-dir", build, "--output-on-failure", "--timeout", "300",
               "--output-junit", report, "-j", str(jobs)] + selection
    status = subprocess.call(command)
    if not os.path.exists(report):
        return [], status == 0
    return list(ElementTree.parse(report).getroot().iter("testcase")), status == 0


def reason_of(case):
    """Why a test skipped: its line after "SKIP:", or what GTEST_SKIP() was told."""
    lines = (case.findtext("system-out") or "").splitlines()
    for line in lines:
        if line.startswith("SKIP:"):
            return line[len("SKIP:"):].strip()
    for at, line in enumerate(lines):
        if line.endswith(": Skipped"):
            return lines[at + 1].strip() if at + 1 < len(lines) else ""
    return "no reason given"


def verdict(case):
    """passed, failed or skipped. A test that never ran (no program, no fixture) has failed."""
    if case.get("status") == "run" and case.find("failure") is None:
        return "passed"
    skipped = case.find("skipped")
    if skipped is not None and (skipped.get("message") or "").startswith("SKIP_"):
        return "skipped"
    return "failed"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--unit", action="store_true", help="unit tests only")
    options = parser.parse_args()
    jobs = max(2, os.cpu_count() or 2)
    started = time.monotonic()

    if options.unit:
        passes = [("unit", ["-L", "^unit$"], jobs)]
    else:
        passes = [("parallel", ["-LE", ALONE], jobs), ("serial", ["-L", ALONE], 1)]
    cases, content = [], True
    for name, selection, pass_jobs in passes:
        found, ok = run_ctest(options.build, name, selection, pass_jobs)
        cases += found
        content = content and ok

    tests = {"passed": [], "failed": [], "skipped": []}
    for case in cases:
        tests[verdict(case)].append(case)
    strict = bool(os.environ.get("CI"))

    print(f"\n{len(cases)} tests in {time.monotonic() - started:.0f} s")
    if tests["skipped"]:
        print("In CI nothing may be skipped; these count as failed:" if strict else "Skipped:")
        width = max(len(case.get("name")) for case in tests["skipped"])
        for case in tests["skipped"]:
            print(f"  {case.get('name'):{width}}  {reason_of(case)}")
    if strict:
        tests["failed"] += tests["skipped"]
        tests["skipped"] = []
    if tests["failed"]:
        print("Failed:")
        for case in tests["failed"]:
            print(f"  {case.get('name')}")
    if not cases:
        print("No test was found: that is a failure of its own.")
    elif not content and not tests["failed"]:
        print("ctest itself reported a failure: see above.")
    print(f"{len(tests['passed'])} passed, {len(tests['failed'])} failed, "
          f"{len(tests['skipped'])} skipped", flush=True)
    return 0 if cases and content and not tests["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
