#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lintian_test.sh PYTHON BUILD: Debian's own check finds no error in the packages.
set -eu
cd "$(dirname "$0")"
if ! command -v lintian >/dev/null; then
  echo 'SKIP: lintian is not installed'
  exit 77
fi
"$1" -c 'import sys, clean_root; print("\n".join(clean_root.packages_of(sys.argv[1])))' "$2" |
  xargs lintian --allow-root --fail-on error
