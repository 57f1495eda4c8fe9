# SPDX-License-Identifier: Apache-2.0
"""Every byte value in process names and payloads: no view for people shows one that a terminal
would act on. And outputs that do not arrive: a pipe that is closed, a disk that is full."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import threading

import lib
from lib import check, check_equal, main

PR_SET_NAME = 15
NAMES = [bytes(range(start, min(start + 15, 256))) for start in range(1, 256, 15)]
EVERY_BYTE = bytes(range(256))
HEAD = b"POST /hostile HTTP/1.1\r\nHost: x\r\n\r\n"
OLDEST = ["--from", "oldest"]
VIEWS = {"tail": ["ebpf-tail", *OLDEST], "tail-rs": ["ebpf-tail-rs", *OLDEST],
         "ctl-tail": ["ebpfctl", "tail", "--oldest"],
         "ctl-hex": ["ebpfctl", "tail", "-o", "hex", "--oldest"]}


def raw_controls(content):
    """What a terminal would act on; \\n and what is no byte of UTF-8 by itself aside."""
    found = {byte for byte in content if byte < 0x20 and byte != 0x0a or byte == 0x7f}
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return found | {content[error.start]}
    return found | {c for c in text if 0x80 <= ord(c) < 0xa0 or c in "\u2028\u2029\u202e"}


def commands():
    """The views that are there."""
    listed = ""
    if os.path.exists(os.path.join(lib.BIN, "ebpfctl")):
        listed = os.popen(f"'{lib.program('ebpfctl')}' --help").read()
    for name, (program, *arguments) in VIEWS.items():
        is_there = os.path.exists(os.path.join(lib.BIN, program)) and \
            (arguments[0] == "--from" or f" {arguments[0]} " in listed)
        if is_there:
            yield name, [lib.program(program), *arguments]


def exchange(name):
    """In a thread that is called so: a request and a response with every byte."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name + b"\0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname(), 10) as client:
            server, _ = listener.accept()
            with server:
                client.sendall(HEAD + EVERY_BYTE)
                check(server.recv(4096), "a request")
                server.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + EVERY_BYTE[::-1])
                check(client.recv(4096), "a response")


def traffic():
    for name in NAMES:
        thread = threading.Thread(target=exchange, args=(name,))
        thread.start()
        thread.join()


def no_view_shows_a_raw_control_byte(bench):
    bench.producer("--allow-pids", str(os.getpid()))
    traffic()
    wanted = 4 * len(NAMES)
    views = {name: bench.start(name, [*command, "--socket", bench.socket, "--count", str(wanted)])
             for name, command in commands()}
    for name, view in views.items():
        check_equal(view.wait(60), 0, f"exit code of {name} ({view.stderr()!r})")
        with open(view.stdout_path, "rb") as file:
            shown = file.read()
        check_equal(raw_controls(shown), set(), f"what {name} shows as it is")
        check(shown.count(b"\n") >= wanted, f"{name} shows every record")
        check(b"hostile" in shown or name == "ctl-hex", f"{name} shows the payload")
    agent = bench.agent("c++", "--count", str(wanted), attached=False)
    check_equal(agent.wait(60), 0, "exit code of the agent")
    with open(agent.stdout_path, "rb") as file:
        lines = file.read().splitlines()
    check_equal(set().union(*map(raw_controls, lines)), set(), "what JSON shows as it is")
    payloads = {json.loads(line)["cap_data"].encode("latin-1") for line in lines}
    check(HEAD + EVERY_BYTE in payloads, "JSON holds every byte")


def run_into(output, command):
    """Runs a program with this standard output; gives (exit code, what it says)."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
                          text=True, errors="replace", timeout=60, check=False)
    return done.returncode, done.stderr


def an_output_that_does_not_arrive_is_told(bench):
    bench.producer("--allow-pids", str(os.getpid()))
    traffic()
    ctl = [lib.program("ebpfctl"), "--socket", bench.socket]
    shows = [[*ctl, "tracer", "show"], [*ctl, "-o", "json", "tracer", "show"],
             [*ctl, "socktrace", "show", "-v"], [*ctl, "--help"], [*ctl, "--version"],
             [lib.program("ebpf-producer"), "--help"], [lib.program("ebpf-tail"), "--help"]]
    views = [[*command, "--socket", bench.socket, "--count", str(4 * len(NAMES))]
             for _, command in commands()]
    for command in shows + views:
        with open("/dev/full", "wb", buffering=0) as full:
            code, said = run_into(full, command)
        what = f"{' '.join(command)} to a full disk: {said!r}"
        check_equal((code, said.count("\n")), (1, 1), what)
        check("No space left" in said, what)
        # Who has read enough closes the pipe: no reason to say anything.
        reader, writer = os.pipe()
        os.close(reader)
        code, said = run_into(writer, command)
        os.close(writer)
        check(code in (0, 1, -signal.SIGPIPE) and said.count("\n") <= 1, f"{' '.join(command)} to a closed pipe: "
              f"exit code {code}, {said!r}")


main(no_view_shows_a_raw_control_byte, an_output_that_does_not_arrive_is_told)
