#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages of the groups named that are missing; quick when none is.
#   scripts/deps.sh [native|build|test|jvm|vm|lint|bench]...    (default: build)
set -euo pipefail

# native: C and C++ programs, demo. build: native and Rust. The others: what each
# needs on top.
native=(build-essential cmake ninja-build pkg-config clang-14 llvm-14 libbpf-dev libelf-dev
        zlib1g-dev libboost-dev libcli11-dev libspdlog-dev nlohmann-json3-dev libncurses-dev libgtest-dev
        prometheus-cpp-dev python3 procps iproute2)
rust=(rustc cargo)
test=(nginx-light curl bind9-dnsutils dnsmasq-base tcpdump nghttp2-server nghttp2-client
      mariadb-server-core mariadb-client-core redis-server redis-tools memcached postgresql-15
      openssl openssh-client openssh-server relacy-dev valgrind
      libclang-rt-14-dev lintian systemd bindgen zsh fish prometheus tshark chromium python3-pyte python3-matplotlib)
jvm=(openjdk-17-jdk-headless ca-certificates)
vm=(qemu-system-x86 busybox-static gpgv debian-archive-keyring)
bench=(libiceoryx-posh-dev iceoryx bpftrace strace wrk dnsperf)
lint=(clang-format-14 clang-tidy-14 shellcheck rustfmt rust-clippy)

# A cargo of the user's own (rustup) serves as well, and brings its own rustfmt and clippy.
own_rust() { command -v cargo >/dev/null && cargo --version >/dev/null 2>&1; }
own_rust_lint() { cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; }

wanted=()
for group in "${@:-build}"; do
  case "$group" in
    native) wanted+=("${native[@]}") ;;
    build) wanted+=("${native[@]}"); own_rust || wanted+=("${rust[@]}") ;;
    test) wanted+=("${test[@]}"); own_rust_lint || wanted+=(cargo rustfmt rust-clippy) ;;
    jvm) wanted+=("${jvm[@]}") ;;
    vm) wanted+=("${vm[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    lint)
      own_rust && lint=("${lint[@]/#rust*/}")
      for package in "${lint[@]}"; do [ -z "$package" ] || wanted+=("$package"); done ;;
    *) echo "deps: '$group' is no group of packages: native, build, test, jvm, vm, lint or bench" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null; then
  echo "deps: this is no Debian system; these packages, or what they hold, are needed: ${wanted[*]}" >&2
  exit 0
fi

declare -A installed=()
while read -r status package; do
  [ "$status" = ii ] && installed[$package]=1
done < <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${wanted[@]}" 2>/dev/null || :)

missing=()
for package in "${wanted[@]}"; do
  [ -n "${installed[$package]:-}" ] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "deps: these Debian packages are missing, and installing them needs root:" >&2
  echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

# Packages that bring a daemon would start it. policy-rc.d forbids that while we install; one
# that an interrupted run left behind is ours by its mark, and is replaced.
policy=/usr/sbin/policy-rc.d
mark='# written by libebpf scripts/deps.sh'
remove_policy() { if grep -qsF "$mark" "$policy"; then rm -f "$policy"; fi; }
remove_policy
if [ ! -e "$policy" ]; then
  trap remove_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
  chmod 755 "$policy"
fi

echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
run() {
  if ! "$@" </dev/null >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "deps: '$*' failed; its last lines are above, all of it is in $log" >&2
    exit 1
  fi
}
run apt-get -o Acquire::Retries=3 update
run apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
  "${missing[@]}"
rm -f "$log"

# Nor at the next boot: the tests start servers of their own.
declare -A services=([nginx-light]=nginx [redis-server]=redis-server [memcached]=memcached
                     [postgresql-15]=postgresql [openssh-server]=ssh
                     [prometheus]=prometheus)
for package in "${missing[@]}"; do
  service=${services[$package]:-}
  if [ -n "$service" ] && command -v update-rc.d >/dev/null; then
    update-rc.d "$service" disable >/dev/null 2>&1 || :
  fi
done
