#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configures and builds into build/. Tests are built once somebody asked for them.
#   scripts/build.sh [--tests] [--native]     --native: without the Rust part
set -euo pipefail
cd "$(dirname "$0")/.."

options=()
[ -f build/CMakeCache.txt ] || options+=(-DLIBEBPF_BUILD_TESTS=OFF)
native=
for argument; do
  case "$argument" in
    --tests) options+=(-DLIBEBPF_BUILD_TESTS=ON) ;;
    --native) native=1 ;;
    *) echo "build: '$argument' is no option: --tests or --native" >&2; exit 2 ;;
  esac
done
[ -z "${CI:-}" ] || options+=(-DLIBEBPF_WERROR=ON)

mkdir -p build
if ! cmake -S . -B build -G Ninja "${options[@]}" >build/configure.log 2>&1; then
  cat build/configure.log >&2
  exit 1
fi
targets=(all)
[ -n "$native" ] || targets+=(rust_sample)
cmake --build build --target "${targets[@]}"
