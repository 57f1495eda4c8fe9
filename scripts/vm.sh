#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the programs, then traces the same traffic in several ways in a virtual machine.
#   scripts/vm.sh [KERNEL] [option of tests/vm/run.py]...
set -euo pipefail
cd "$(dirname "$0")/.."

if ! scripts/deps.sh native vm; then
  echo 'SKIP: the packages that the virtual machine needs cannot be had'
  exit 77
fi
mkdir -p build
options=()
[ -f build/CMakeCache.txt ] || options+=(-DLIBEBPF_BUILD_TESTS=OFF)
if ! { cmake -S . -B build -G Ninja "${options[@]}" &&
       cmake --build build --target ebpf-producer ebpf-tail ebpfctl ebpf-traffic; } \
     >build/vm.log 2>&1; then
  tail -n 60 build/vm.log >&2
  echo 'vm: the programs cannot be built; all of it is in build/vm.log' >&2
  exit 1
fi
exec python3 -u tests/vm/run.py --programs build/bin --work build-vm/images "$@"
