#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the original library's Rust sample against the libebpf.a that is installed.
#   scripts/rust_sample.sh [PREFIX [TARGET_FOLDER]]     (default: /usr/local samples/rust/target)
# Where nothing is installed there, what is built is installed into a folder of its own first.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:-/usr/local}
target=${2:-samples/rust/target}

# Both places where libraries go: by GNU's rules, and by Debian's for /usr.
library_folder() {
  local folder
  for folder in "$1/lib" "$1/lib/$(cc -print-multiarch)" "$1/lib64"; do
    if [ -f "$folder/libebpf.a" ]; then realpath "$folder"; return; fi
  done
}

folder=$(library_folder "$prefix")
if [ -z "$folder" ]; then
  echo "rust-sample: no libebpf.a below $prefix; taking an installation of its own in build/stage"
  cmake --install build --component dev --prefix "$PWD/build/stage" >/dev/null
  folder=$(library_folder "$PWD/build/stage")
fi
LIBEBPF_LIB_DIR=$folder cargo build --quiet --release --offline --locked --package rust_sample \
  --manifest-path rust/Cargo.toml --target-dir "$target"
echo "rust-sample: $target/release/rust_sample, with $folder/libebpf.a"
