# SPDX-License-Identifier: Apache-2.0
"""A thousand sequential requests of curl to nginx: none missing, in order, on both sides."""

from lib import (brief, check, check_equal, enter_own_network, first_line, foreign, main,
                 wait_until)

# (requests, one connection for all of them)
BATCHES = [(400, True), (100, False), (400, True), (100, False)]


def paths_of_batches(port):
    """The URL pattern of each batch; requests are numbered through from 1."""
    first = 1
    for count, keep_alive in BATCHES:
        yield f"http://127.0.0.1:{port}/request/[{first}-{first + count - 1}]", keep_alive
        first += count


def check_side(records, side, total):
    """One side's records: request and response of each request, in the order of the requests."""
    requests = [record for record in records if record["msg_type"] == "request"]
    responses = [record for record in records if record["msg_type"] == "response"]
    check_equal(len(requests), total, f"requests at {side}")
    check_equal(len(responses), total, f"responses at {side}")
    check_equal(len(records), 2 * total, f"records at {side}")
    for at, (request, response) in enumerate(zip(records[::2], records[1::2]), 1):
        check_equal(first_line(request), f"GET /request/{at} HTTP/1.1", f"request {at} at {side}")
        check(first_line(response) == "HTTP/1.1 200 OK",
              f"response {at} at {side} is {brief(response)}")
        check_equal(request["socket_id"], response["socket_id"], f"socket_id of {at} at {side}")


def check_connections(records, side, client_port):
    """Each connection has one socket_id of its own, and counts its records from 0."""
    by_port, by_socket = {}, {}
    for record in records:
        by_port.setdefault(record[client_port], set()).add(record["socket_id"])
        by_socket.setdefault(record["socket_id"], []).append(record["cap_seq"])
    wanted = sum(1 if keep_alive else count for count, keep_alive in BATCHES)
    check_equal(len(by_socket), wanted, f"sockets at {side}")
    for port, ids in by_port.items():
        check(len(ids) == 1, f"the connection from port {port} has several ids at {side}: {ids}")
    for socket_id, numbers in by_socket.items():
        check(numbers == list(range(len(numbers))), f"cap_seq of socket {socket_id}: {numbers}")


def a_thousand_requests_are_seen_on_both_sides(bench):
    curl = foreign("curl")
    enter_own_network()
    bench.producer("--perf-pages", "2048")
    agent = bench.agent()
    server, port = bench.nginx()
    total = sum(count for count, _ in BATCHES)
    for urls, keep_alive in paths_of_batches(port):
        header = [] if keep_alive else ["-H", "Connection: close"]
        bench.run([curl, "-sS", "--noproxy", "*", "-o", "/dev/null", *header, urls])

    def at_server():
        return [record for record in agent.records()
                if record["process_name"] == "nginx" and record["lport"] == port]

    def at_client():
        return [record for record in agent.records()
                if record["process_name"] == "curl" and record["rport"] == port]

    try:
        wait_until(lambda: len(at_server()) + len(at_client()) >= 4 * total, 10, "every record")
    finally:
        agent.finish()
    check_side(at_server(), "nginx", total)
    check_side(at_client(), "curl", total)
    check_connections(at_server(), "nginx", "rport")
    check_connections(at_client(), "curl", "lport")
    check_equal(agent.gaps(), [], "gaps")
    check(all(record["l7_protocol"] == "HTTP" for record in at_server() + at_client()),
          "every record is HTTP")
    check(server.running(), "nginx still runs")


main(a_thousand_requests_are_seen_on_both_sides)
