#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, runs the tests; the last line is "N passed, N failed, N skipped".
#   scripts/test.sh [--unit]     --unit: the unit tests only, nothing installed for the others
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --unit ]; then
  scripts/deps.sh build
else
  # Kafka and Dubbo on the JVM are tested in CI; elsewhere where they are there already.
  # shellcheck disable=SC2086
  scripts/deps.sh build test vm ${CI:+jvm}
fi
scripts/build.sh --tests
exec python3 -u scripts/run_tests.py --build build "$@"
