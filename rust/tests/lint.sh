#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lint.sh MANIFEST: clippy finds nothing, rustfmt would change nothing.
set -eu
# A compiler of the user's own may have come without them; Debian's then serve.
if ! cargo clippy --version >/dev/null 2>&1 || ! cargo fmt --version >/dev/null 2>&1; then
  PATH=/usr/bin:/bin
  CARGO_TARGET_DIR=$CARGO_TARGET_DIR-debian
  export PATH CARGO_TARGET_DIR
  if ! cargo clippy --version >/dev/null 2>&1; then
    echo 'SKIP: no clippy here'
    exit 77
  fi
fi
cargo fmt --all --check --manifest-path "$1"
cargo clippy --quiet --offline --locked --workspace --all-targets --manifest-path "$1" -- -D warnings
