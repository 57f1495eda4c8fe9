# SPDX-License-Identifier: Apache-2.0
"""`ebpfctl check` says beforehand what the producer would meet, and agrees with it."""

import json
import os
import shutil
import subprocess

from lib import EXIT_NO_KERNEL, check, check_equal, foreign, main, program

FINE, DEGRADED, MISSING = 0, 1, 2
WITHOUT_BPF = ["--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-bpf,-perfmon,-sys_admin"]


def look(before=()):
    done = subprocess.run([*before, program("ebpfctl"), "-o", "json", "check"],
                          capture_output=True, text=True, timeout=10, check=False)
    check(done.returncode in (FINE, DEGRADED, MISSING) and done.stdout,
          f"ebpfctl check ended with {done.returncode}: {done.stderr}")
    report = json.loads(done.stdout)
    check_equal(report["verdict"], ("ok", "degraded", "missing")[done.returncode], "verdict")
    return done.returncode, {one["name"]: one for one in report["checks"]}


def it_agrees_with_the_producer(bench):
    code, findings = look()
    producer = bench.start("probe", [program("ebpf-producer"), "--socket", bench.socket])
    for _ in range(200):
        if "ready:" in producer.stdout() or not producer.running():
            break
        subprocess.run(["sleep", "0.05"], check=True)
    runs = producer.running()
    check_equal(code != MISSING, runs, f"the tracer runs here ({findings})")
    if runs:
        check_equal(producer.stop(), 0, "exit code of the producer")
    else:
        check_equal(producer.wait(), EXIT_NO_KERNEL, "exit code of the producer")


def missing_capabilities_are_named(_bench):
    code, findings = look([foreign("setpriv"), *WITHOUT_BPF])
    check_equal(code, MISSING, "exit code")
    finding = findings["BPF system call"]
    check_equal(finding["verdict"], "missing", "verdict of the BPF system call")
    check("CAP_BPF and CAP_PERFMON" in finding["text"] or "CAP_SYS_ADMIN" in finding["text"],
          f"no capability is named: {finding['text']}")


def without_tracefs_it_is_degraded(_bench):
    hide = ("mount --make-rprivate /sys && mount -t tmpfs none /sys/kernel/tracing && "
            "mount -t tmpfs none /sys/kernel/debug && exec \"$@\"")
    code, findings = look([foreign("unshare"), "-m", "--propagation", "unchanged",
                           "sh", "-c", hide, "sh"])
    check_equal(findings["Tracepoints"]["verdict"], "degraded", "verdict of the tracepoints")
    check("mount -t tracefs" in findings["Tracepoints"]["text"], "it does not say what to do")
    check_equal(code, DEGRADED, "exit code")


def a_line_for_each_finding(bench):
    done = bench.run([program("ebpfctl"), "check"], wanted=None)
    lines = done.stdout.splitlines()
    check_equal(lines[-2:-1], [""], "the line before the last")
    check(lines[-1].startswith("The tracer "), f"no summary: {lines[-1]!r}")
    for line in lines[:-2]:
        check_equal(line[17:27].strip() in ("ok", "degraded", "missing"), True, f"verdict in {line!r}")


def any_user_may_ask(bench):
    copy = bench.path("ebpfctl")
    shutil.copy(program("ebpfctl"), copy)
    os.chmod(copy, 0o755)
    os.chmod(bench.folder, 0o755)
    done = bench.run([foreign("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
                      copy, "check"], wanted=MISSING)
    check("lacks CAP_" in done.stdout, f"no capability is named: {done.stdout}")


if __name__ == "__main__":
    main(it_agrees_with_the_producer, missing_capabilities_are_named,
         without_tracefs_it_is_degraded, a_line_for_each_finding, any_user_may_ask)
