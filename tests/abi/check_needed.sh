#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_needed.sh LIBRARY SONAME: the library has that soname, and needs nothing but libbpf with
# what it needs, and the C and C++ runtime.
set -eu
dynamic=$(readelf -d "$1")
soname=$(echo "$dynamic" | sed -n 's/.*(SONAME).*\[\(.*\)\].*/\1/p')
if [ "$soname" != "$2" ]; then
  echo "soname is \"$soname\", expected \"$2\""
  exit 1
fi
needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
for library in $needed; do
  case $library in
    libc.so.* | libm.so.* | libstdc++.so.* | libgcc_s.so.* | ld-linux*) ;;
    libbpf.so.* | libelf.so.* | libz.so.*) ;;
    libasan.so.* | libubsan.so.* | libtsan.so.*)
      echo "built with a sanitizer: $library"
      exit 77
      ;;
    *)
      echo "needs $library"
      exit 1
      ;;
  esac
done
