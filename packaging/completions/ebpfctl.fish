# SPDX-License-Identifier: Apache-2.0
# The program's help text says what there is; nothing of it is repeated here.
function __ebpfctl_words
    set -l words (commandline -opc)
    set -l path (string match -v -- '-*' $words[2..-1] | string join ' ')
    test -n "$path"; and set path "$path "
    $words[1] --help 2>/dev/null | awk -v path="$path" '
      /^[A-Z]/ { commands = /^Commands/; of = ""; if (sub(/^Options of /, "")) { sub(/:$/, " "); of = $0 } next }
      { left = substr($0, 5); sub(/   *[^ -].*/, "", left) }
      commands && index(left " ", path) == 1 { split(substr(left, length(path) + 1), next_word, " "); print next_word[1] }
      !commands && index(path, of) == 1 && left ~ /^ *-/ {
        count = split(left, part, /,? +/)
        for (i = 1; i <= count; i++) if (part[i] ~ /^-/) print part[i]
      }' | sort -u
end
complete -c ebpfctl -f -a '(__ebpfctl_words)'
complete -c ebpfctl -s o -l output -x -a 'text json hex'
complete -c ebpfctl -l socket -r -F
complete -c ebpfctl -l from -r -F
