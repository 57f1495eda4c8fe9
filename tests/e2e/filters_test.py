# SPDX-License-Identifier: Apache-2.0
"""The producer's filters on the traffic of real servers: what passes, and what does not."""

import socket

import servers
import trace_file
from lib import check, check_equal, enter_own_network, foreign, main

HTTP_PORT, REDIS_PORT, DNS_PORT, SMTP_PORT = 8080, 6379, 5300, 2525
HTTP, REDIS, DNS = "HTTP/1", "Redis", "DNS"
ALL = {HTTP, REDIS, DNS}


class Servers:
    """nginx, Redis, dnsmasq, and one that greets as a mail server does."""

    def __init__(self, bench):
        enter_own_network()
        self.bench = bench
        self.nginx = servers.start_nginx(bench, HTTP_PORT)
        self.redis = servers.wait_listening(bench.start("redis-server", [
            foreign("redis-server"), "--bind", servers.HOST, "--port", str(REDIS_PORT), "--save",
            "", "--dir", bench.folder]), REDIS_PORT)
        self.dnsmasq = servers.wait_listening(bench.start("dnsmasq", [
            foreign("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", f"--listen-address={servers.HOST}", "--bind-interfaces",
            f"--port={DNS_PORT}", "--address=/example.test/192.0.2.7", "--user=root",
            "--group=root", "--log-facility=-", f"--pid-file={bench.path('dnsmasq.pid')}"]),
            DNS_PORT)
        self.runs = 0

    def traffic(self):
        servers.curl(self.bench, f"http://{servers.HOST}:{HTTP_PORT}/echo")
        self.bench.run([foreign("redis-cli"), "-h", servers.HOST, "-p", str(REDIS_PORT), "set",
                        "key", "value"])
        self.bench.run([foreign("dig"), f"@{servers.HOST}", "-p", str(DNS_PORT), "+tries=1",
                        "+timeout=30", "example.test", "A"])
        with socket.create_server((servers.HOST, SMTP_PORT)) as listener:
            with socket.create_connection((servers.HOST, SMTP_PORT), 10) as client:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"220 mail.example ESMTP\r\n")
                    check_equal(client.recv(100), b"220 mail.example ESMTP\r\n", "the greeting")

    def records(self, *options):
        """What is recorded of the traffic with these options."""
        self.runs += 1
        trace = self.bench.path(f"{self.runs}.ebpfrec")
        producer = self.bench.producer("--record", trace, *options, name=f"producer-{self.runs}")
        self.traffic()
        check_equal(producer.stop(), 0, f"exit code of the producer with {options}")
        records, gaps = trace_file.read(trace)
        check_equal(gaps, [], "gaps in the trace")
        ours = {HTTP_PORT, REDIS_PORT, DNS_PORT, SMTP_PORT}
        return [record for record in records if {record.lport, record.rport} & ours]

    def expect(self, options, wanted):
        """`wanted`: protocols, as {(is it the server's end, protocol)}."""
        records = self.records(*options)
        got = {(bool({record.lport} & {HTTP_PORT, REDIS_PORT, DNS_PORT, SMTP_PORT}),
                trace_file.PROTOCOLS[record.l7]) for record in records}
        check_equal(got, wanted, f"what passes {' '.join(options) or 'without a filter'}")
        return records


def both(protocols):
    return {(is_server, protocol) for protocol in protocols for is_server in (True, False)}


def only_what_is_wanted_passes(bench):
    machine = Servers(bench)
    machine.expect((), both(ALL))
    machine.expect(("--protocols", "http1,dns"), both({HTTP, DNS}))
    machine.expect(("--allow-ports", f"{HTTP_PORT}-{HTTP_PORT + 10},{DNS_PORT}"), both({HTTP, DNS}))
    machine.expect(("--deny-ports", f"1-{DNS_PORT},{REDIS_PORT}"), both({HTTP}))
    machine.expect(("--allow-names", "redis-server,curl"), {(True, REDIS), (False, HTTP)})
    machine.expect(("--deny-names", "redis-server,curl,nginx"), {(False, REDIS), *both({DNS})})
    machine.expect(("--allow-pids", str(machine.redis.pid)), {(True, REDIS)})
    machine.expect(("--deny-pids", f"{machine.redis.pid},{machine.dnsmasq.pid}"),
                   {*both({HTTP}), (False, REDIS), (False, DNS)})
    machine.expect(("--allow-ports", str(REDIS_PORT), "--deny-names", "redis-cli"),
                   {(True, REDIS)})


def what_is_unknown_passes_when_asked_for(bench):
    machine = Servers(bench)
    records = machine.expect(("--capture-unknown",), both({*ALL, "none"}))
    unknown = [record for record in records if trace_file.PROTOCOLS[record.l7] == "none" and
               SMTP_PORT in (record.lport, record.rport)]
    check_equal(sorted((record.direction, record.payload) for record in unknown),
                [(trace_file.SENT, b"220 mail.example ESMTP\r\n"),
                 (trace_file.RECEIVED, b"220 mail.example ESMTP\r\n")], "the mail server's greeting")
    check(all(record.msg_type == 0 and not record.need_reconfirm for record in unknown),
          "nothing is said of it")
    # A protocol that is not looked for is one that is not known.
    records = machine.expect(("--capture-unknown", "--protocols", "dns", "--deny-ports",
                              str(SMTP_PORT)), both({DNS, "none"}))
    check(any(record.payload.startswith(b"GET /echo") for record in records), "the request is there")


main(only_what_is_wanted_passes, what_is_unknown_passes_when_asked_for)
