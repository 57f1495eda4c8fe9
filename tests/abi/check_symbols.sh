#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_symbols.sh NM LIBRARY LIST: the library gives out the symbols of the list, no more,
# no fewer. A symbol that goes away breaks programs; one that slips in has to be kept for ever.
set -eu
export LC_ALL=C
found=$(mktemp)
trap 'rm -f "$found"' EXIT
"$1" -D --defined-only "$2" | awk '{ print $3 }' | sort > "$found"
diff -u "$3" "$found"
