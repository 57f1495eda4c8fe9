#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Traces the same traffic in several ways, and prints what came of it between markers that
# run.py reads. "@@ step" lines show where a hang was. Runs in the virtual machine, and on the
# host in a mount namespace of its own.
#   trace.sh ATTACH:OFFSETS...     as the options --attach and --offsets of ebpf-producer
# shellcheck shell=dash

work=$(mktemp -d) || exit 1
cd "$work" || exit 1
socket=$work/producer.sock
btf=/sys/kernel/btf

pause() { usleep "$1"000 2>/dev/null || sleep 1; }

# section NAME FILE: compressed, as a serial line is slow.
section() {
  echo "@@ begin $1"
  gzip -c <"$2" | base64
  echo "@@ end $1"
}

# wait_for STEP SECONDS CONDITION...: false, where the producer ended or took too long.
wait_for() {
  step=$1
  tenths=$(($2 * 10))
  shift 2
  until "$@"; do
    tenths=$((tenths - 1))
    if ! kill -0 "$producer" 2>/dev/null || [ "$tenths" -lt 0 ]; then
      echo "@@ step $way: $step: not so far"
      return 1
    fi
    pause 100
  done
}

hide_btf() {
  [ -e "$btf/vmlinux" ] || return 0
  mount -t tmpfs tmpfs "$btf" 2>/dev/null || mount -o bind "$work" "$btf"
  if [ -e "$btf/vmlinux" ]; then echo '@@ missing a way to hide BTF'; fi
}

show_btf() { umount "$btf" 2>/dev/null; }

start_producer() {
  touch producer.out
  # Several words on purpose.
  # shellcheck disable=SC2086
  ebpf-producer --socket "$socket" --attach "$attach" --offsets "$offsets" $EBPF_PRODUCER_ARGS \
    >producer.out 2>producer.err &
  producer=$!
  wait_for 'getting ready' "${EBPF_PATIENCE:-240}" grep -q ready: producer.out
}

# The agent is done when nothing more comes.
wait_for_records() {
  before=-1
  now=$(wc -c <records.json)
  while [ "$now" != "$before" ]; do
    pause 400
    before=$now
    now=$(wc -c <records.json)
  done
}

# Every socket of the traffic is closed: a second later they are followed no more. Prints how
# many are left.
wait_for_sweep() {
  tries=20
  left=unknown
  until [ "$left" = 0 ] || [ "$tries" = 0 ]; do
    pause 300
    tries=$((tries - 1))
    left=$(ebpfctl --socket "$socket" --output json tracer show 2>/dev/null |
      sed -n 's/.*"kern_socket_map_used": *\([0-9]*\).*/\1/p')
  done
  echo "$left"
}

capture() {
  ebpf-tail -o json --from oldest --socket "$socket" >records.json 2>tail.err &
  tail=$!
  wait_for 'an agent that joins' 60 grep -q joined producer.err
  echo "@@ step $way: traffic"
  ebpf-traffic smoke --exchanges 4 >traffic.json 2>traffic.err
  echo "@@ exit $way traffic $?"
  wait_for_records
  ebpfctl --socket "$socket" --output json tracer show >tracer.json 2>&1
  echo "@@ exit $way ebpfctl $?"
  ebpfctl --socket "$socket" --output json socktrace show >socktrace.json 2>&1
  case "$way" in
    raw:btf | tracepoint:btf | auto:auto) echo "@@ left $way $(wait_for_sweep)" ;;
  esac
  kill -INT "$tail"
  wait "$tail"
  echo "@@ exit $way tail $?"
}

trace() {
  way=$1
  attach=${way%:*}
  offsets=${way#*:}
  rm -rf "${work:?}"/*
  if [ "$offsets" = search ]; then hide_btf; fi
  echo "@@ step $way: the producer starts"
  if start_producer; then capture; fi
  kill -INT "$producer" 2>/dev/null
  wait "$producer"
  echo "@@ exit $way producer $?"
  if [ ! -e traffic.json ]; then
    # The whole story, the verifier's words included.
    # shellcheck disable=SC2086
    timeout 120 ebpf-producer -v --socket "$socket" --attach "$attach" --offsets "$offsets" \
      $EBPF_PRODUCER_ARGS 2>&1 | tail -n 60 >refusal
  fi
  if [ "$offsets" = search ]; then show_btf; fi
  for file in producer.err traffic.json traffic.err tail.err tracer.json socktrace.json \
      records.json refusal; do
    if [ -s "$file" ]; then section "$way/$file" "$file"; fi
  done
}

{
  echo "release=$(uname -r)"
  if [ -e "$btf/vmlinux" ]; then echo btf=yes; else echo btf=no; fi
  echo "cpus=$(grep -c ^processor /proc/cpuinfo)"
} >kernel
section kernel kernel
for way; do
  case "$way" in
    *:btf) [ -e "$btf/vmlinux" ] || continue ;;
  esac
  trace "$way"
done
cd /
rm -rf "$work"
