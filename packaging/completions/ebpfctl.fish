# SPDX-License-Identifier: Apache-2.0
complete -c ebpfctl -f
complete -c ebpfctl -s o -l output -x -a 'text json' -d 'What to print'
complete -c ebpfctl -l socket -r -F -d 'Control socket of the producer'
complete -c ebpfctl -l watch -x -d 'Show again every so many seconds'
complete -c ebpfctl -s v -l verbose -d 'More lines'
complete -c ebpfctl -s C -l color -d 'Colours'
complete -c ebpfctl -s h -l help -d 'Help'
complete -c ebpfctl -s V -l version -d 'Version'
complete -c ebpfctl -n 'not __fish_seen_subcommand_from tracer socktrace check metrics' -a 'tracer socktrace check metrics'
complete -c ebpfctl -n '__fish_seen_subcommand_from tracer' -a 'show start stop help'
complete -c ebpfctl -n '__fish_seen_subcommand_from socktrace' -a 'show help'
complete -c ebpfctl -n '__fish_seen_subcommand_from metrics' -l listen -x -d 'Serve them at PORT, IPV4:PORT or [IPV6]:PORT'
