# SPDX-License-Identifier: Apache-2.0
"""The sample agents in C++ and Rust print the same bytes for the same ring, whatever is in it.

    agents_agree.py HOSTILE_RING EBPF_TAIL EBPF_TAIL_RS
"""

import json
import os
import subprocess
import sys
import tempfile

RECORDS = 2000


def output(agent, socket, *options, count=RECORDS):
    """What the agent prints for so many records of the ring, from the oldest on."""
    command = [agent, "--socket", socket, "--from", "oldest", "--count", str(count), *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def exit_code(agent, *options):
    return subprocess.run([agent, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=30, check=False).returncode


def compare(what, first, second):
    if first == second:
        return
    for number, pair in enumerate(zip(first.split(b"\n"), second.split(b"\n")), 1):
        if pair[0] != pair[1]:
            sys.exit(f"{what}, line {number}:\n  C++  {pair[0]!r}\n  Rust {pair[1]!r}")
    sys.exit(f"{what}: {len(first)} bytes by C++, {len(second)} by Rust")


def check_lines(text, lines):
    if not text.isascii() or any(byte < 0x20 and byte != 0x0A for byte in text):
        sys.exit("the text holds a byte that a terminal would act on")
    objects = [json.loads(line) for line in lines.splitlines()]
    data = [item for item in objects if "gap" not in item]
    if len(data) != RECORDS or len(objects) == RECORDS:
        sys.exit(f"{len(data)} records and {len(objects) - len(data)} gaps in the JSON lines")
    for item in data:
        if len(item["cap_data"]) != item["cap_len"]:
            sys.exit(f"{len(item['cap_data'])} bytes of {item['cap_len']}: {item}")


def compare_agents(socket, tail, tail_rs):
    for zone in ("UTC", "Asia/Kathmandu"):
        os.environ["TZ"] = zone
        text = output(tail, socket)
        compare(f"text, TZ={zone}", text, output(tail_rs, socket))
    lines = output(tail, socket, "-o", "json")
    compare("JSON", lines, output(tail_rs, socket, "-o", "json"))
    one_lane = output(tail, socket, "--lanes", "1", count=100)
    compare("one lane", one_lane, output(tail_rs, socket, "--lanes", "1", count=100))
    check_lines(text, lines)


def compare_exit_codes(socket, *agents):
    for options, wanted in (("--socket /nonexistent/x", 3), ("--count 0", 2), ("-o xml", 2),
                            ("--from middle", 2), ("--lanes 64", 2), ("-x", 2),
                            ("--count 1 --count 2", 2), ("-V", 0),
                            ("-h", 0), (f"--socket={socket} --from=oldest --count=1", 0)):
        for agent in agents:
            code = exit_code(agent, *options.split())
            if code != wanted:
                sys.exit(f"{agent} {options} ended with {code}, not {wanted}")


def main(ring, tail, tail_rs):
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, "producer.sock")
        with subprocess.Popen([ring, socket, str(RECORDS)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as producer:
            if producer.stdout.readline() != b"ready\n":
                sys.exit("the ring is not there")
            compare_agents(socket, tail, tail_rs)
            compare_exit_codes(socket, tail, tail_rs)
            producer.stdin.close()


main(*sys.argv[1:])
