#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks formatting and lint, or formats. clang-tidy is slow: it looks at the sources that differ
# from the upstream branch, or at all with LINT=all.
#   scripts/lint.sh [--format]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh build lint

tool() { command -v "$1-14" || command -v "$1"; }
mapfile -t sources < <(git ls-files '*.c' '*.cc' '*.cpp' '*.h' ':!*vmlinux*.h')

if [ "${1:-}" = --format ]; then
  "$(tool clang-format)" -i "${sources[@]}"
  if [ -f rust/Cargo.toml ]; then cargo fmt --all --manifest-path rust/Cargo.toml; fi
  exit 0
fi

failed=()
step() {
  local name=$1
  shift
  echo "lint: $name"
  "$@" || failed+=("$name")
}

tidy() {
  [ -f build/compile_commands.json ] || scripts/build.sh --tests >/dev/null
  local base files=()
  base=$(git merge-base HEAD '@{upstream}' 2>/dev/null || git rev-list --max-parents=0 HEAD | tail -n 1)
  if [ "${LINT:-}" = all ]; then
    mapfile -t files < <(git ls-files '*.cc' '*.cpp' '*.c' ':!bpf/*.bpf.c')
  else
    mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- '*.cc' '*.cpp' '*.c' ':!bpf/*.bpf.c')
  fi
  local known=()
  for file in "${files[@]}"; do
    if grep -qF "/$file\"" build/compile_commands.json; then known+=("$file"); fi
  done
  [ "${#known[@]}" -gt 0 ] || return 0
  printf '%s\0' "${known[@]}" |
    xargs -0 -n 1 -P "$(nproc)" "$(tool clang-tidy)" -p build --quiet
}

mapfile -t scripts < <(git ls-files '*.sh' .ci/run tests/vm/init)
step clang-format "$(tool clang-format)" --dry-run -Werror "${sources[@]}"
step clang-tidy tidy
step shellcheck shellcheck "${scripts[@]}"
if [ -f rust/Cargo.toml ]; then
  step 'cargo fmt' cargo fmt --all --check --manifest-path rust/Cargo.toml
  step 'cargo clippy' env LIBEBPF_LIB_DIR="$PWD/build/lib" CARGO_TARGET_DIR="$PWD/build/rust" cargo clippy --quiet --offline \
    --all-targets --manifest-path rust/Cargo.toml -- -D warnings
fi

if [ "${#failed[@]}" -gt 0 ]; then
  echo "lint: failed: ${failed[*]}" >&2
  exit 1
fi
echo 'lint: clean'
