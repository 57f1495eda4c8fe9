#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a fuzzer for so many seconds, from its seeds and from what earlier runs found.
#   tests/fuzz/run.sh BUILD SECONDS
set -euo pipefail
build=$1
seconds=$2
here=$(cd "$(dirname "$0")" && pwd)
fuzzer=$build/tests/infer_fuzz
corpus=$build/fuzz/infer
if [ ! -x "$fuzzer" ]; then
  echo "SKIP: $fuzzer was not built: clang++-14 and libclang-rt-14-dev are needed"
  exit 77
fi
mkdir -p "$corpus"
python3 "$here/seeds.py" "$build/fuzz/infer-seeds"
cd "$build/fuzz"
echo "fuzz: infer, $seconds s"
"$fuzzer" -max_total_time="$seconds" -max_len=2048 -print_final_stats=1 -verbosity=0 \
  "$corpus" "$build/fuzz/infer-seeds"
