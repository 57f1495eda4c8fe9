#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# subproject_test.sh CMAKE SOURCE [build]: a project with libebpf in a subfolder configures, knows
# its targets and headers, and gets no tests and no installation from it. With "build" it is also
# built and run, which takes as long as building all of libebpf.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" -S "$2/tests/packaging/subproject" -B "$folder" -G Ninja -DLIBEBPF_SOURCE="$2" >"$folder/log" 2>&1 || {
  cat "$folder/log"
  exit 1
}
if [ "${3:-}" = build ]; then
  "$1" --build "$folder" --target with_shared with_static
  "$folder/with_shared"
  "$folder/with_static"
  exit 0
fi
# Our headers are found; the programs depend on the libraries.
object=$(ninja -C "$folder" -t targets all | sed -n 's/: .*//; /with_shared.dir.*\.o$/p')
ninja -C "$folder" "$object" >"$folder/log" 2>&1 || {
  cat "$folder/log"
  exit 1
}
ninja -C "$folder" -n -v with_shared with_static >"$folder/plan"
grep -q 'libebpf\.so' "$folder/plan"
grep -q 'libebpf\.a' "$folder/plan"
if [ "$(ctest --test-dir "$folder" -N | sed -n 's/^Total Tests: //p')" != 0 ]; then
  echo 'libebpf brings tests into the project around it'
  exit 1
fi
