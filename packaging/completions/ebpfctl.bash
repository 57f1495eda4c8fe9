# SPDX-License-Identifier: Apache-2.0
# The program's help text says what there is; nothing of it is repeated here.
_ebpfctl() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} path='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in -*) ;; *) path+="${COMP_WORDS[i]} " ;; esac
  done
  local found
  found=$("${COMP_WORDS[0]}" --help 2>/dev/null | awk -v path="$path" -v before="$before" '
    /^[A-Z]/ { commands = /^Commands/; of = ""; if (sub(/^Options of /, "")) { sub(/:$/, " "); of = $0 } next }
    { left = substr($0, 5); sub(/   *[^ -].*/, "", left) }
    commands && index(left " ", path) == 1 { split(substr(left, length(path) + 1), next_word, " "); print next_word[1] }
    !commands && index(path, of) == 1 && left ~ /^ *-/ {
      count = split(left, part, /,? +/)
      for (i = 1; i <= count; i++) if (part[i] ~ /^-/) { print part[i]; if (part[i] == before && part[count] !~ /^-/) value = part[count] }
    }
    END { if (value != "") print "=" value }')
  local value=${found##*=}
  if [ "$value" = "$found" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$found" -- "$word")
  elif [[ $value == *'|'* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${value//|/ }" -- "$word")
  elif [[ $value == PATH || $value == FILE ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}
complete -o default -F _ebpfctl ebpfctl
