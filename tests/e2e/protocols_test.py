# SPDX-License-Identifier: Apache-2.0
"""Real servers and decoys: which protocol each record is said to be, against the truth.

No server stands at its usual port: each has that of another.
"""

import decoys
import matrix
import servers
from lib import main

# What speaks at a port: (port, protocol, traffic).
KNOWN = [
    (6379, "HTTP/1", servers.http1),
    (3306, "HTTP/2", servers.http2),
    (9092, "MySQL", servers.mysql),
    (53, "Redis", servers.redis),
    (20880, "DNS", servers.dns),
]
DECOYS = [
    (80, "TLS", decoys.tls),
    (9093, "SSH", decoys.ssh),
    (3307, "PostgreSQL", decoys.postgresql),
    (6380, "memcached", decoys.memcached),
    (8080, "SMTP", decoys.smtp),
    (9094, "random bytes", decoys.random_bytes),
    (5353, "random UDP", decoys.random_datagrams),
    (20881, "gzip stream", decoys.gzip_stream),
    (9095, "pickles", decoys.length_prefixed),
    (8081, "text lines", decoys.text_lines),
]


def each_record_is_told_for_what_it_is(bench):
    matrix.measure(bench, KNOWN + DECOYS)


main(each_record_is_told_for_what_it_is)
