# SPDX-License-Identifier: Apache-2.0
"""The committed bindings against those that bindgen makes of the headers: every structure field
by field, every function with its signature, every constant's value.

    bindings_drift.py LIBRARY_SOURCE INCLUDE_FOLDER

The committed ones say the same in names that read well, and carry the documentation.
"""

import re
import shutil
import subprocess
import sys
import tempfile

FUNCTIONS = "(ebpf|bpf_tracer|socket_tracer|running_socket|tracer)_.*"
CONSTANTS = "(SOCK|MSG|TRACER|EBPF)_.*"
# What the same type is called on either side.
SPELLINGS = ((r"::core::option::", ""), (r"::std::", ""), (r"\bcty::", ""), (r"\bcore::ffi::", ""),
             (r"\bc_uint\b", "u32"), (r"\bsize_t\b", "usize"), (r"(\d)usize\b", r"\1"),
             (r"\bEBPF_COMM_BYTES\b", "16"), (r"Option<ebpf_(record|gap)_fn>", r"ebpf_\1_fn"),
             (r"fn\(\w+: \*mut SK_BPF_DATA\)", "fn(*mut SK_BPF_DATA)"))
# A record is read from memory that another process wrote: any byte may stand there, and Rust's
# bool allows only two.
DELIBERATE = {("SK_BPF_DATA", "need_reconfirm"): "u8"}
# The layout of the shared memory and the like, which a program has no use for.
NOT_BOUND = re.compile("EBPF_(RING|CONTROL|CONSUMERS|COMMITTED|SLEEPS|RECORD_(ALIGN|HEAD)|CACHE)"
                       "|EBPF_AWAKE|EBPF_CAP_BYTES_DEFAULT")


def plain(source):
    source = re.sub(r"//.*", "", source)
    source = re.sub(r"#!?\[[^\[\]]*(\[[^\]]*\])?[^\[\]]*\]", "", source)
    for pattern, spelling in SPELLINGS:
        source = re.sub(pattern, spelling, source)
    source = re.sub(r"\s+", " ", source)
    return re.sub(r",? ([)}>])", r" \1", source).replace("( ", "(").replace(" )", ")").replace(
        "< ", "<").replace(" >", ">")


def structs_of(source):
    found = {}
    for name, body in re.findall(r"pub struct (\w+) \{([^}]*)\}", source):
        found[name] = re.findall(r"pub (\w+): ([^,]+?)(?:,| *$)", body.strip())
    return found


def functions_of(source):
    return {name: (re.sub(r"\s", "", arguments), (result or "").strip()) for name, arguments, result
            in re.findall(r"pub fn (\w+)\((.*?)\)(?: -> ([^;{]+))?;", source)}


def constants_of(source):
    return {name: int(value) for name, value
            in re.findall(r"pub const (\w+): \w+ = (-?\d+);", source)}


def pointers_of(source):
    return {name: re.sub(r"^Option<(.*)>$", r"\1", target.strip()) for name, target
            in re.findall(r"pub type (ebpf_\w+_fn) = ([^;]+);", source)}


def generate(include):
    with tempfile.NamedTemporaryFile("w", suffix=".h") as header:
        header.write("#include <libebpf/consumer.h>\n#include <libebpf/tracer.h>\n")
        header.flush()
        done = subprocess.run(
            ["bindgen", "--use-core", "--ctypes-prefix", "cty", "--no-layout-tests",
             "--no-doc-comments", "--allowlist-function", FUNCTIONS, "--allowlist-var", CONSTANTS,
             "--allowlist-type", "ebpf_(record|gap)", header.name, "--", f"-I{include}"],
            capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bindgen ended with {done.returncode}: {done.stderr}")
    return plain(done.stdout)


def compare(kind, committed, generated):
    problems = []
    for name in sorted(generated.keys() | committed.keys()):
        if committed.get(name) != generated.get(name):
            problems.append(f"{kind} {name}: committed {committed.get(name)}, the headers say "
                            f"{generated.get(name)}")
    return problems


def main(source, include):
    if not shutil.which("bindgen"):
        print("SKIP: bindgen is not installed")
        sys.exit(77)
    with open(source, encoding="utf-8") as file:
        committed = plain(file.read())
    generated = generate(include)
    structs = structs_of(generated)
    for (struct, field), kind in DELIBERATE.items():
        structs[struct] = [(name, kind if name == field else other)
                           for name, other in structs[struct]]
    constants = {name: value for name, value in constants_of(generated).items()
                 if not NOT_BOUND.match(name)}
    problems = compare("struct", structs_of(committed), structs)
    problems += compare("function", functions_of(committed), functions_of(generated))
    problems += compare("constant", constants_of(committed), constants)
    problems += compare("type", pointers_of(committed), pointers_of(generated))
    if problems:
        sys.exit("\n".join(problems))
    counts = len(structs), len(functions_of(generated)), len(constants)
    if min(counts) < 5:
        sys.exit(f"only {counts} structures, functions and constants were found")
    print("{} structures, {} functions, {} constants are those of the headers".format(*counts))


main(*sys.argv[1:])
