#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures the ring beside what people would otherwise use; about two minutes.
#   scripts/bench.sh [--document] [option of ring_bench]...
# The figures go to build/ring_bench.json; --document puts them into docs/BENCHMARKS.md, too.
set -euo pipefail
cd "$(dirname "$0")/.."

document=
if [ "${1:-}" = --document ]; then
  document=1
  shift
fi
scripts/deps.sh native bench
scripts/build.sh --tests --native
build/bin/ring_bench --json build/ring_bench.json "$@"
[ -z "$document" ] || python3 tests/bench/tables.py build/ring_bench.json docs/BENCHMARKS.md
