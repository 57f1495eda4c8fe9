#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the built fault tests for longer than ctest lets them.
#   run.sh BUILD rounds N         every test, N rounds each
#   run.sh BUILD soak MINUTES     the soak
set -euo pipefail
tests="$1/tests"

case "$2" in
  rounds)
    failed=0
    for test in consumer_kill producer_kill hostile_consumer sequence_limits layout_version \
                memory_security call_failures ring_corruption; do
      EBPF_FAULT_ROUNDS="$3" "$tests/${test}_test" || failed=1
    done
    exit "$failed"
    ;;
  soak)
    EBPF_SOAK_SECONDS=$(("$3" * 60)) exec "$tests/soak_test"
    ;;
  *)
    echo "run.sh: $2 is neither rounds nor soak" >&2
    exit 2
    ;;
esac
