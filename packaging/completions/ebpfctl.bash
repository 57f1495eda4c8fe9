# SPDX-License-Identifier: Apache-2.0
_ebpfctl() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} object='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in tracer | socktrace | metrics) object=${COMP_WORDS[i]} ;; esac
  done
  case $before in
    -o | --output) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$word"); return ;;
    --watch | --listen) return ;;
    --socket) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
  esac
  local words='-o --output --socket --watch -v --verbose -h --help -V --version -C --color'
  case $object in
    tracer) words+=' show start stop help' ;;
    socktrace) words+=' show help' ;;
    metrics) words+=' --listen' ;;
    *) words+=' tracer socktrace check metrics' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _ebpfctl ebpfctl
