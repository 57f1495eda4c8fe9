#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds static programs, then traces smoke traffic in a virtual machine.
#   scripts/vm.sh [KERNEL] [option of tests/vm/run.py]...
set -euo pipefail
cd "$(dirname "$0")/.."

if ! scripts/deps.sh native vm; then
  echo 'SKIP: the packages that the virtual machine needs cannot be had'
  exit 77
fi
mkdir -p build-vm
if ! { cmake --preset vm &&
       cmake --build build-vm --target ebpf-producer ebpf-tail ebpfctl ebpf-traffic; } \
     >build-vm/build.log 2>&1; then
  tail -n 60 build-vm/build.log >&2
  echo 'vm: the static programs cannot be built; all of it is in build-vm/build.log' >&2
  exit 1
fi
exec python3 -u tests/vm/run.py --programs build-vm/bin --work build-vm/images "$@"
