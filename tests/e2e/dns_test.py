# SPDX-License-Identifier: Apache-2.0
"""dig against dnsmasq: a name server and a resolver that are not ours."""

import os

from lib import check, check_equal, enter_own_network, foreign, main, payload, wait_until

NAMES = [f"host{number}.example.test" for number in range(20)]


def start_dnsmasq(bench):
    """On a network of our own, where every port is free."""
    enter_own_network()
    dnsmasq = foreign("dnsmasq")
    port = 5300
    server = bench.start("dnsmasq", [
        dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
        "--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}", "--cache-size=0",
        "--address=/example.test/192.0.2.7", "--user=root", "--group=root", "--log-facility=-",
        f"--pid-file={bench.path('dnsmasq.pid')}"])
    wait_until(lambda: os.path.exists(bench.path("dnsmasq.pid")) or not server.running(), 10,
               "dnsmasq starts")
    check(server.running(), f"dnsmasq ended: {server.stderr()}")
    return server, port


def dig(bench, port, name, *options):
    done = bench.run([foreign("dig"), "@127.0.0.1", "-p", str(port), "+short", "+tries=1",
                      "+timeout=30", *options, name, "A"])
    check_equal(done.stdout.strip(), "192.0.2.7", f"answer for {name}")


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def queries_over_udp_are_seen_with_their_answers(bench):
    bench.producer()
    agent = bench.agent()
    server, port = start_dnsmasq(bench)
    for name in NAMES:
        dig(bench, port, name)

    def at_server():
        return [record for record in agent.records()
                if record["lport"] == port and record["protocol"] == 17]
    wait_until(lambda: len(at_server()) >= 2 * len(NAMES), 10, "every record at the server")
    agent.finish()
    records = at_server()
    check_equal(len(records), 2 * len(NAMES), "records at the server")
    for name, query, answer in zip(NAMES, records[::2], records[1::2]):
        check_equal((query["direction"], query["msg_type"]), ("recv", "request"), name)
        check_equal((answer["direction"], answer["msg_type"]), ("send", "response"), name)
        check_equal(payload(query)[:2], payload(answer)[:2], f"DNS ids for {name}")
        check(wire_name(name) in payload(query) and wire_name(name) in payload(answer),
              f"{name} stands in both payloads")
        check_equal(query["l7_protocol"], "DNS", f"protocol of {name}")
        check_equal(query["process_id"], server.pid, f"process of {name}")
        check_equal(query["syscall_trace_id_call"], answer["syscall_trace_id_call"],
                    f"trace id of {name}")
    check_equal(len({record["socket_id"] for record in records}), 1, "sockets of the server")


def queries_over_tcp_are_seen_with_their_answers(bench):
    bench.producer()
    agent = bench.agent()
    _, port = start_dnsmasq(bench)
    for name in NAMES[:5]:
        dig(bench, port, name, "+tcp")

    def of_type(kind):
        return [record for record in agent.records() if record["protocol"] == 6 and
                port in (record["lport"], record["rport"]) and record["msg_type"] == kind]
    wait_until(lambda: len(of_type("request")) >= 5 and len(of_type("response")) >= 5, 10,
               "requests and responses")
    agent.finish()
    for name in NAMES[:5]:
        for kind in ("request", "response"):
            check(any(wire_name(name) in payload(record) and record["l7_protocol"] == "DNS"
                      for record in of_type(kind)), f"{kind} for {name} over TCP")


main(queries_over_udp_are_seen_with_their_answers, queries_over_tcp_are_seen_with_their_answers)
