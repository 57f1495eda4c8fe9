#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures: runs the benchmarks in turn, then makes the table of all figures to reach, and plots.
#   scripts/bench.sh [NAME]... [--] [OPTION]...    NAME: ring, trace, bpf, drain, server, scale,
#                                          profile; else all
#   scripts/bench.sh --document                    measures nothing: docs/BENCHMARKS.md and its
#                                                  pictures anew, from the figures that are there
# Each program writes build/bench/NAME_bench.json; options go to all of them (--rounds 9, --quick).
# One that fails or is missing does not stop the others.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/bench
python=tests/bench
debian_python=/usr/bin/python3  # the one that Debian's matplotlib is for
[ -x $debian_python ] || debian_python=python3

if [ "${1:-}" = --document ]; then
  scripts/deps.sh test bench
  python3 $python/tables.py $out docs/BENCHMARKS.md
  exec "$debian_python" $python/plots.py $out --document docs/images
fi

names=()
while [ $# -gt 0 ] && [[ "$1" != -* ]]; do
  names+=("$1")
  shift
done
[ "${1:-}" != -- ] || shift
[ ${#names[@]} -gt 0 ] || names=(ring trace bpf drain server scale profile)

scripts/deps.sh build test bench
scripts/build.sh --tests
mkdir -p $out

run() {
  local name=${1}_bench
  shift
  if [ -x "build/bin/$name" ]; then
    "build/bin/$name" --json "$out/$name.json" "$@"
  elif [ -f "$python/$name.py" ]; then
    python3 -u "$python/$name.py" --json "$out/$name.json" "$@"
  else
    echo "bench: there is no $name" >&2
    return 1
  fi
}

failed=()
for name in "${names[@]}"; do
  printf '\n== %s_bench\n' "$name"
  run "$name" "$@" || failed+=("${name}_bench ($?)")
done
printf '\n== All figures to reach, from %s/*.json\n' $out
python3 $python/tables.py --figures $out || failed+=(tables)
"$debian_python" $python/plots.py $out || failed+=(plots)
if [ ${#failed[@]} -gt 0 ]; then
  echo "bench: failed, with exit code: ${failed[*]}" >&2
  exit 1
fi
