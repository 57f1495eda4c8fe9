# SPDX-License-Identifier: Apache-2.0
"""Every option of every program and command, as its help tells them, with values that cannot be:
exit code 2, at once, and one line that a terminal can be shown."""

import concurrent.futures
import os
import re
import subprocess

import lib
from lib import check, main

EXIT_USAGE = 2
CASES_WANTED = 2000
CPU_SECONDS = 1
NOWHERE = "/nonexistent/libebpf"
# What makes an option that is right end soon, and not well.
ENDINGS = {"ebpf-producer": [f"--replay={NOWHERE}"], "ebpfctl": [f"--socket={NOWHERE}"],
           "ebpf-tail": [f"--socket={NOWHERE}"], "ebpf-tail-rs": [f"--socket={NOWHERE}"]}

OPTION = re.compile(r"^\s+(?:(-\w),\s?)?\s*(--[a-z][a-z-]*)(?:[ =]\[?([A-Z]{2,}|[a-z]+(?:\|[a-z]+)+))?",
                    re.MULTILINE)
COMMAND = re.compile(r"^ {4}([a-z]+(?: [a-z]+)*)(?: +[A-Z|-]+(?: [A-Z|.-]+)*)? {2,}\S", re.MULTILINE)
# Text that is taken as it is: what stands in it cannot be wrong.
FREE = {"PATH", "FILE", "ADDR", "OUT"}
FREE_OPTIONS = {"--socket", "--allow-names", "--deny-names", "--comm"}
# Lists, which may be given in pieces.
LISTS = {"--pid", "--port", "--trace", "--comm", "--proto", "--direction", "--msg-type"}

NEVER_RIGHT = [b"-1", b"-99999999999999999999", b"9" * 30, b"9" * 5000, b"x" * 100000, b"1\n2",
               b"\n", b"json\n", b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80", b"\x1b[2J", b"\x1b]0;x\x07",
               b"\xc2\x9b31m", b"\t", b"\x7f", b"a\rb", b"\x01", b"..", b"%s%n%d", b"$(id)", b"NaN",
               b"-inf", b"--", b"1,,2", b",", b"null", b"\xe2\x80\xae"]
NO_NUMBER = [b"1e3", b"0x10", b" 5", b"5 ", b"+5", b"1.5", b"1_000", b"5k"]


def help_of(name, *command):
    done = subprocess.run([lib.program(name), *command, "--help"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0 and done.stdout, f"{name} {command} --help: {done.stderr}")
    return done.stdout


def commands_of(name):
    """Every command, as words; programs without any have the empty one."""
    if name != "ebpfctl":
        return [()]
    listed = help_of(name).split("Commands:\n", 1)[1].split("\nOptions", 1)[0]
    return [tuple(command.split()) for command in COMMAND.findall(listed)]


def options_of(name, command):
    """(names, what its value is; "": none) of each option."""
    for short, long, value in OPTION.findall(help_of(name, *command)):
        if long not in ("--help", "--version"):
            yield [option for option in (short, long) if option], value


def cases_of(name, command, without):
    """(arguments, may this be right?) of a command, but for some of its options."""
    yield from ((["--no-such-" + word], False) for word in ("option", "o\n", "\x1b[2J", "x" * 5000))
    yield from (([word], False) for word in (b"-Z", b"-\xff"))
    # Some take the name of a file there.
    yield from (([word], True) for word in (b"\xff\xfe", b"\x1b[31mred", b"two\nlines"))
    for names, value in options_of(name, command):
        if names[-1] in without:
            continue
        free = value in FREE or names[-1] in FREE_OPTIONS
        if not value:
            for bad in NEVER_RIGHT:
                if names[-1] != "--color":
                    yield [os.fsencode(names[-1]) + b"=" + bad], False
            continue
        for option in map(os.fsencode, names):
            is_long = option.startswith(b"--")
            yield [option], None  # the value is missing
            yield [option, b""], free
            if is_long:
                yield [option + b"="], free
            yield [option, b"1", option, b"2"], free or names[-1] in LISTS  # twice
            for bad in NEVER_RIGHT + ([] if free or value in ("FLOAT", "TEXT") else NO_NUMBER):
                may_be = free or (bad == b"1,,2" and names[-1] in LISTS)
                if not free and value == "NUMBER" and bad in NO_NUMBER:
                    continue
                if is_long:
                    yield [option + b"=" + bad], may_be
                elif not bad.startswith(b"-"):
                    yield [option, bad], may_be


def complaint(folder, name, command, arguments, may_be):
    """What is wrong with how the program takes them; "": nothing. Files that it may write are
    in this folder."""
    missing = may_be is None
    line = [*command, *([] if missing else ENDINGS[name]), *arguments]
    if not missing and name == "ebpfctl" and not command:
        return ""
    process = subprocess.Popen([os.path.abspath(lib.program(name)), *line], cwd=folder,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "does not end"
    shown = err[:200]
    if out:
        return f"prints {out[:100]!r} to standard output"
    if process.returncode != EXIT_USAGE and not (may_be and process.returncode in (1, 3, 4)):
        return f"ends with {process.returncode}: {shown!r}"
    if not err.endswith(b"\n") or err.count(b"\n") != 1 or len(err) < 10:
        return f"says {err.count(bytes([10]))} lines: {shown!r}"
    if len(err) > 2000:
        return f"says {len(err)} bytes: {shown!r}"
    try:
        text = err[:-1].decode()
    except UnicodeDecodeError:
        return f"says what is no UTF-8: {shown!r}"
    raw = [c for c in text if ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0 or ord(c) in (0x202e, 0x200f)]
    return f"says {raw[0]!r} as it is: {shown!r}" if raw else ""


def bad_options_are_refused_in_a_line(bench):
    cases = []
    for name in ENDINGS:
        if not os.path.exists(os.path.join(lib.BIN, name)):
            continue
        # Options that all commands share are tried with every fourth of them.
        shared = {names[-1] for names, _ in options_of(name, ("check",))} if name == "ebpfctl" else ()
        for at, command in enumerate(commands_of(name)):
            without = shared if at % 4 else ()
            cases += [(name, command, *case) for case in cases_of(name, command, without)]
    begun = os.times()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda case: complaint(bench.folder, *case), cases))
    spent = os.times()
    faults = [(case, what) for case, what in zip(cases, told) if what]
    for (name, command, arguments, _), what in faults[:60]:
        given = " ".join(repr(argument)[:60] for argument in arguments)
        print(f"  {' '.join((name, *command))} {given}: {what}")
    cpu = spent.children_user + spent.children_system - begun.children_user - begun.children_system
    print(f"  {len(cases)} cases, {cpu / len(cases) * 1000:.1f} ms of CPU each")
    check(not faults, f"{len(faults)} of {len(cases)} cases are taken wrongly")
    check(len(cases) >= CASES_WANTED, f"only {len(cases)} cases")
    check(cpu / len(cases) < CPU_SECONDS, "each ends at once")


main(bad_options_are_refused_in_a_line)
