#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the Debian packages of what is built already; nothing is compiled.
#   scripts/packages.sh [BUILD]     into BUILD/packages
# Where files go depends on the prefix that CMake is configured with, and /usr is not the one that
# people build with. So a second configuration, for /usr, packs what the first one has built.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
stage=$build/package-usr

mkdir -p "$stage"
for folder in bin lib bpf; do ln -sfn "../$folder" "$stage/$folder"; done
quietly() {
  local log=$1
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "packages: '$*' failed; its last lines are above" >&2
    exit 1
  fi
}
quietly "$stage/configure.log" cmake -S . -B "$stage" -G Ninja -DCMAKE_INSTALL_PREFIX=/usr \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLIBEBPF_BUILD_TESTS=OFF
cd "$stage"
rm -rf packages
# Files in the packages are as old as the sources: the same sources give the same packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$OLDPWD" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
quietly cpack.log cpack --config CPackConfig.cmake
rm -rf "$build/packages" packages/_CPack_Packages
mv packages "$build/packages"
