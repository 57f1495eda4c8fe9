# SPDX-License-Identifier: Apache-2.0
"""Installs into a folder of its own, and builds programs against that as a newcomer would:
with find_package, with pkg-config, with the linker line of the original library, and its Rust
sample with cargo.

    install_test.py BUILD_FOLDER CMAKE
"""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def run(*command, **extra):
    environment = {**os.environ, **extra}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check_program(path, library_folder):
    version = run(path, LD_LIBRARY_PATH=library_folder).strip()
    if version.count(".") != 2:
        sys.exit(f"{path} printed {version!r}, not a version")


def check_rust_sample(prefix, target):
    """What `make rust-sample` does after `make install`."""
    if not shutil.which("cargo"):
        return
    printed = run(os.path.join(HERE, "../../scripts/rust_sample.sh"), prefix, target)
    if os.path.realpath(prefix) not in printed:
        sys.exit(f"the sample was built against something else: {printed}")
    sample = os.path.join(target, "release/rust_sample")
    done = subprocess.run([sample, "/nonexistent/folder/log"], capture_output=True, text=True,
                          timeout=20, check=False)
    if done.returncode != 1 or "bpf_tracer_init() file:" not in done.stdout:
        sys.exit(f"rust_sample ended with {done.returncode}: {done.stdout}{done.stderr}")


def files_of(root):
    return {os.path.relpath(os.path.join(folder, name), root)
            for folder, _, names in os.walk(root) for name in names}


def main(build, cmake):
    with tempfile.TemporaryDirectory(prefix="libebpf-install-") as folder:
        root = os.path.join(folder, "root")
        prefix = os.path.join(root, "opt/ebpf")
        run(cmake, "--install", build, "--prefix", "/opt/ebpf", DESTDIR=root)
        found = files_of(prefix)
        for wanted in ("sbin/ebpf-producer", "bin/ebpfctl", "include/libebpf/tracer.h",
                       "share/libebpf/socket_trace.elf", "lib/systemd/system/ebpf-producer.service",
                       "share/man/man8/ebpfctl.8.gz"):
            if wanted not in found:
                sys.exit(f"{wanted} is not installed; there are {sorted(found)}")
        with open(f"{prefix}/lib/systemd/system/ebpf-producer.service", encoding="utf-8") as file:
            if "ExecStart=/opt/ebpf/sbin/ebpf-producer\n" not in file.read():
                sys.exit("the service does not start the program of this prefix")

        archive = next(name for name in found if name.endswith("/libebpf.a"))
        library = os.path.join(prefix, os.path.dirname(archive))
        outside = os.path.join(folder, "outside")
        run(cmake, "-S", os.path.join(HERE, "program"), "-B", outside,
            f"-DCMAKE_PREFIX_PATH={prefix}")
        run(cmake, "--build", outside)
        for name in ("c_shared", "c_static", "cpp_shared", "cpp_static"):
            check_program(os.path.join(outside, name), library)

        path = os.path.join(library, "pkgconfig")
        flags = run("pkg-config", "--cflags", "--libs", "libebpf", PKG_CONFIG_PATH=path).split()
        program = os.path.join(folder, "pkg_config")
        run("cc", "-std=c11", os.path.join(HERE, "program/program.c"), "-o", program, *flags)
        check_program(program, library)
        run("cc", "-std=c11", f"-I{prefix}/include", os.path.join(HERE, "program/program.c"), "-o",
            program, f"-L{library}", "-Wl,-Bstatic", "-lebpf", "-Wl,-Bdynamic", "-lpthread", "-lelf",
            "-lz")
        check_program(program, "")
        check_rust_sample(prefix, os.path.join(folder, "target"))


main(*sys.argv[1:])
