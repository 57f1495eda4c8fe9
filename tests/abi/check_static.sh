#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_static.sh NM ARCHIVE LIST PROGRAM: the archive's global symbols are those of the list,
# no more, no fewer, and PROGRAM, linked with it, needs no C++ runtime and no libbpf.
set -eu
export LC_ALL=C
found=$(mktemp)
wanted=$(mktemp)
trap 'rm -f "$found" "$wanted"' EXIT
"$1" -g --defined-only "$2" | awk 'NF == 3 { print $3 }' | sort > "$found"
sed -n 's/@@.*//p' "$3" | sort > "$wanted"
diff -u "$wanted" "$found"
if "$1" -C --undefined-only "$2" | grep -E ' U (std::|operator |__cxa_(throw|begin)|libbpf_|bpf_)'; then
  echo 'is undefined in the archive'
  exit 1
fi
needed=$(readelf -d "$4" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
for library in $needed; do
  case $library in
    libc.so.* | libelf.so.* | libz.so.* | libgcc_s.so.* | ld-linux*) ;;
    libasan.so.* | libubsan.so.* | libtsan.so.*)
      echo "SKIP: built with a sanitizer: $library"
      exit 77
      ;;
    *)
      echo "the program needs $library"
      exit 1
      ;;
  esac
done
