#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs fuzzers for so many seconds each, from their seeds and from what earlier runs found.
#   tests/fuzz/run.sh BUILD SECONDS [NAME]...     all of them where none is named
set -euo pipefail
build=$(realpath "$1")
seconds=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- infer control client ring trace_file perf
mkdir -p "$build/fuzz"
cd "$build/fuzz"
for name; do
  fuzzer=$build/tests/${name}_fuzz
  if [ ! -x "$fuzzer" ]; then
    echo "SKIP: $fuzzer was not built: clang++-14 and libclang-rt-14-dev are needed"
    exit 77
  fi
  mkdir -p "$name"
  python3 "$here/seeds.py" "$name" "$name-seeds"
  echo "fuzz: $name, $seconds s"
  "$fuzzer" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$name-" "$name" "$name-seeds"
done
