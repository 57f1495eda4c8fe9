# SPDX-License-Identifier: Apache-2.0
"""Wrong options: exit code 2, and one clear line that names option, value and what is right."""

import lib
from lib import check, check_equal, main

EXIT_USAGE = 2
EXIT_NO_PRODUCER = 3  # of agents and ebpfctl

# option, wrong value, a word that says what would be right
PRODUCER = [
    ("--threads", "0", "1"), ("--threads", "65", "64"), ("--threads", "two", "number"),
    ("--threads", "-1", "number"), ("--perf-pages", "100", "power of two"),
    ("--perf-pages", "0", "power of two"), ("--ring-size", "65535", "power of two"),
    ("--ring-size", "1e6", "power of two"), ("--ring-size", "99999999999999999999", "power of two"),
    ("--max-socket-entries", "0", "1"), ("--max-trace-entries", "0", "1"),
    ("--socket-map-max-reclaim", "x", "number"), ("--max-consumers", "0", "1"),
    ("--attach", "kprobe", "auto, raw, tracepoint, direct"),
    ("--transport", "pigeon", "auto, perf, ringbuf"), ("--offsets", "guess", "auto, btf, search"),
    ("--cap-len", "0", "1"), ("--cap-len", "16385", "number"),
    ("--protocols", "http3", "http1,http2,dubbo"),
    ("--allow-ports", "80,", "80,8000-8100"), ("--allow-ports", "0", "1 to 65535"),
    ("--deny-ports", "90-80", "ranges"), ("--deny-ports", "65536", "65535"),
    ("--allow-pids", "-1", "process ids"), ("--deny-pids", "1,x", "process ids"),
    ("--allow-names", "sixteen-letters!", "15 bytes"), ("--deny-names", "a,,b", "15 bytes"),
]
TAILS = [("-o", "xml", "json"), ("--count", "-1", ""), ("--count", "many", ""),
         ("--from", "middle", "oldest")]


def check_refused(bench, command, words):
    done = bench.run(command, wanted=None)
    what = " ".join(command)
    check_equal(done.returncode, EXIT_USAGE, f"exit code of {what} ({done.stderr.strip()!r})")
    lines = done.stderr.strip().splitlines()
    check(lines and all(word in lines[0] for word in words),
          f"{what}: the first line must hold {words}: {lines[:3]}")
    check_equal(done.stdout, "", f"standard output of {what}")


def the_producer_refuses_wrong_values(bench):
    for option, value, right in PRODUCER:
        check_refused(bench, [lib.program("ebpf-producer"), "--socket", bench.socket,
                              f"{option}={value}"], [option, value, right])


def what_it_does_not_know_is_refused(bench):
    for name in ("ebpf-producer", "ebpf-tail", "ebpf-tail-rs"):
        check_refused(bench, [lib.program(name), "--no-such-option"], ["--no-such-option"])
    check_refused(bench, [lib.program("ebpfctl"), "tracer", "show", "--no-such-option"],
                  ["--no-such-option"])


def the_agents_refuse_wrong_values(bench):
    for name in lib.AGENTS.values():
        for option, value, right in TAILS:
            check_refused(bench, [lib.program(name), "--socket", bench.socket, option, value],
                          [option, value, right])


def without_a_producer_they_say_so(bench):
    for command in (["ebpf-tail", "--socket", bench.socket],
                    ["ebpf-tail-rs", "--socket", bench.socket],
                    ["ebpfctl", "--socket", bench.socket, "tracer", "show"]):
        done = bench.run([lib.program(command[0]), *command[1:]], wanted=None)
        check_equal(done.returncode, EXIT_NO_PRODUCER, f"exit code of {' '.join(command)}")
        check(bench.socket in done.stderr, f"{command[0]} names the socket: {done.stderr!r}")
        check_equal(len(done.stderr.strip().splitlines()), 1, f"lines of {command[0]}")


main(the_producer_refuses_wrong_values, what_it_does_not_know_is_refused,
     the_agents_refuse_wrong_values, without_a_producer_they_say_so)
