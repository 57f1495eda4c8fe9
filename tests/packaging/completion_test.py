# SPDX-License-Identifier: Apache-2.0
"""The shells offer what ebpfctl has: its commands, options and values.

    completion_test.py BIN_FOLDER
"""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COMPLETIONS = os.path.join(HERE, "../../packaging/completions")

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_ebpfctl
printf '%s\\n' "${COMPREPLY[@]}"
"""
# Outside of a line editor zsh completes nothing: what would be offered is printed.
ZSH = """
compadd() { [[ $1 == -a ]] && print -l -- ${(P)2} || print -l -- $@ }
_files() { }
file=$1; shift
words=("$@"); CURRENT=$#
source $file
"""


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0 or done.stderr:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return set(done.stdout.split())


def bash(words):
    return run(["bash", "-c", BASH, "bash", f"{COMPLETIONS}/ebpfctl.bash", *words])


def zsh(words):
    found = run(["zsh", "-f", "-c", ZSH, "zsh", f"{COMPLETIONS}/_ebpfctl", *words])
    return {word for word in found if word.startswith(words[-1])}


def fish(words):
    line = " ".join(words[1:])
    script = f"source {COMPLETIONS}/ebpfctl.fish; complete -C 'ebpfctl {line}'"
    return {word.split("\t")[0] for word in run(["fish", "--no-config", "-c", script])}


def commands(program):
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    lines = text.split("Commands:\n")[1].split("Options")[0].splitlines()
    return [line[4:30].split() for line in lines]


def check(shell, words, wanted, unwanted=()):
    found = shell(["ebpfctl", *words])
    if not set(wanted) <= found or found & set(unwanted):
        sys.exit(f"{shell.__name__} offers {sorted(found)} after {words}, not {sorted(wanted)}")


def main(folder):
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    known = commands(os.path.join(folder, "ebpfctl"))
    for shell in (bash, zsh, fish):
        if not shutil.which(shell.__name__):
            print(f"SKIP: {shell.__name__} is not installed")
            sys.exit(77)
        check(shell, [""], {name[0] for name in known}, {"show"})
        for name in known:
            if len(name) > 1:
                check(shell, [name[0], ""], {name[1]}, {"tracer"})
        check(shell, ["tracer", "st"], {"start", "stop"}, {"show"})
        check(shell, ["--verbose", "tracer", "s"], {"show", "start", "stop"})
        check(shell, ["metrics", "--"], {"--listen", "--socket", "--watch"})
        check(shell, ["ring", "--"], {"--socket"}, {"--listen"})
        check(shell, ["-o", ""], {"text", "json"}, {"tracer"})


main(*sys.argv[1:])
