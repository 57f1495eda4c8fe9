#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds with a sanitizer preset and runs the unit tests in it.
#   scripts/sanitize.sh asan|tsan
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?asan or tsan}
scripts/deps.sh build
cmake --preset "$preset"
cmake --build --preset "$preset"
ctest --preset "$preset" -j 2
