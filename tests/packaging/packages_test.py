# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: installed, run, built against, upgraded and purged in a clean root.

    packages_test.py BUILD_FOLDER
"""

import os
import shutil
import sys

import clean_root
from clean_root import PACKAGES, CleanRoot, skip

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program")


def check_versions(root):
    for name in ("ebpfctl", "ebpf-producer", "ebpf-tail"):
        printed = root.run(name, "--version")
        if not printed.startswith(f"{name} 0."):
            sys.exit(f"{name} --version printed {printed!r}")
    for package in PACKAGES:
        root.run("dpkg", "--verify", package)
    missing = [package for package in PACKAGES if "ii" not in root.run("dpkg", "-l", package)]
    if missing:
        sys.exit(f"not installed: {missing}")
    if "x86_64-linux-gnu/libebpf.so.0" not in root.run("ldconfig", "-p"):
        sys.exit("the linker's cache does not know libebpf.so.0")


# As the ecosystem does it: no path is told.
def check_programs_build(root):
    root.copy_in([f"{PROGRAM}/program.c", f"{PROGRAM}/program.cpp", f"{PROGRAM}/CMakeLists.txt"],
                 "/tmp/program")
    root.run("sh", "-ec", """
cd /tmp/program
cc -std=c11 program.c -o c_program $(pkg-config --cflags --libs libebpf)
c++ -std=c++20 program.cpp -o cpp_program $(pkg-config --cflags --libs libebpf)
cmake -S . -B build >/dev/null
cmake --build build >/dev/null
for program in ./c_program ./cpp_program build/c_shared build/c_static build/cpp_shared; do
  $program
done
""")


def check_service_files(root):
    root.run("systemd-analyze", "verify", "/usr/lib/systemd/system/ebpf-producer.service")
    root.run("systemd-sysusers", "libebpf.conf")
    root.run("systemd-tmpfiles", "--create", "libebpf.conf")
    if not os.path.isdir(f"{root.path}/run/libebpf"):
        sys.exit("systemd-tmpfiles did not make /run/libebpf")


def check_documented(root):
    for section, name in ((8, "ebpfctl"), (8, "ebpf-producer"), (1, "ebpf-tail"), (3, "libebpf")):
        path = f"{root.path}/usr/share/man/man{section}/{name}.{section}.gz"
        if not os.path.exists(path):
            sys.exit(f"no manual page {name}({section})")


def has_group(root):
    return any(line.startswith("libebpf:") for line in root.read("/etc/group").splitlines())


def main(build):
    for tool in ("dpkg", "systemd-analyze", "systemd-tmpfiles", "pkg-config"):
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    packages = clean_root.packages_of(build)
    root = CleanRoot()
    try:
        inside = root.copy_in(packages, "/tmp/packages")
        groups = root.read("/etc/group")
        root.run("dpkg", "-i", *inside)
        if not has_group(root):
            sys.exit("the group libebpf was not made")
        check_versions(root)
        check_programs_build(root)
        check_service_files(root)
        check_documented(root)
        root.run("dpkg", "-i", *inside)  # as an upgrade does
        check_versions(root)

        root.run("dpkg", "--remove", *PACKAGES)
        root.run("dpkg", "--purge", *PACKAGES)
        left = root.written() | root.folders()
        if left:
            sys.exit(f"left behind: {sorted(left)}")
        if root.read("/etc/group") != groups:
            sys.exit("/etc/group is not as it was")
        known = [name for name in os.listdir(f"{root.path}/var/lib/dpkg/info")
                 if name.startswith(tuple(f"{package}." for package in PACKAGES))]
        if known:
            sys.exit(f"dpkg still knows {known}")
    finally:
        root.remove()


main(*sys.argv[1:])
