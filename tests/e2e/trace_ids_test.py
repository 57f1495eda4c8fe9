# SPDX-License-Identifier: Apache-2.0
"""Trace ids against the request ids that stand in a header of every message."""

import json
import re

import servers
import trace_file
from lib import check, check_equal, enter_own_network, main, program, wait_until

CONNECTIONS, REQUESTS = 8, 100
NGINX_CONNECTIONS, NGINX_REQUESTS = 64, 40
ID_HEADER = re.compile(rb"\r\nX-Request-Id: (\d+)\r\n", re.IGNORECASE)
RECEIVED, SENT = trace_file.RECEIVED, trace_file.SENT


def traced(bench, producer, trace):
    check_equal(producer.stop(), 0, "exit code of the producer")
    records, gaps = trace_file.read(trace)
    check_equal(gaps, [], "gaps in the trace")
    return records


def trace_ids(records, is_mine):
    """{(direction, remote port is this one, request id): trace id} of the messages that carry a
    request id, as far as `is_mine` gives a name for their other end."""
    found = {}
    for record in records:
        end = is_mine(record)
        header = ID_HEADER.search(record.payload)
        if end is None or header is None:
            continue
        key = (end, record.direction, int(header.group(1)))
        check(key not in found, f"two records are {key}: {trace_file.brief(record)}")
        check(record.trace_id != 0 or end == "client", f"no trace id: {trace_file.brief(record)}")
        found[key] = record.trace_id
    return found


def a_thread_per_connection_is_always_right(bench):
    enter_own_network()
    trace = bench.path("chain.ebpfrec")
    producer = bench.producer("--perf-pages", "8192", "--record", trace)
    done = bench.run([program("ebpf-traffic"), "chain", str(CONNECTIONS), str(REQUESTS)])
    said = json.loads(done.stdout)
    first, second = said["back_ends"]
    mine = [record for record in traced(bench, producer, trace)
            if record.process_id == said["process_id"]]

    def at_proxy(record):
        names = {first: "first", second: "second"}
        return "asker" if record.lport == said["proxy"] else names.get(record.rport)

    def at_back_end(record):
        return record.lport if record.lport in (first, second) else None

    proxy, back_ends = trace_ids(mine, at_proxy), trace_ids(mine, at_back_end)
    wrong = []
    for number in range(1, CONNECTIONS * REQUESTS + 1):
        asked = proxy["asker", RECEIVED, number]
        answers = [proxy["first", RECEIVED, number], proxy["second", RECEIVED, number]]
        # What is sent carries the id of what the thread received last.
        before = [asked, asked if number % 2 == 0 else answers[0]]
        sent = [proxy["first", SENT, number], proxy["second", SENT, number]]
        if sent != before or proxy["asker", SENT, number] != answers[1]:
            wrong.append(number)
        for port in (first, second):
            if back_ends[port, RECEIVED, number] != back_ends[port, SENT, number]:
                wrong.append(number)
    check(not wrong, f"wrong trace ids of the requests {wrong[:20]}")
    received = [key for key in (*proxy, *back_ends) if key[1] == RECEIVED]
    ids = {proxy.get(key, back_ends.get(key)) for key in received}
    check_equal(len(ids), len(received), "trace ids of all messages that were received")
    print(f"  {CONNECTIONS * REQUESTS} requests, {len(proxy) + len(back_ends)} messages: all right")


def share(pairs):
    return sum(one == other for one, other in pairs) / max(1, len(pairs))


def nginx_with_one_worker_is_measured(bench):
    trace = bench.path("nginx.ebpfrec")
    producer = bench.producer("--perf-pages", "8192", "--record", trace)
    back_end = bench.start("back-end", [program("ebpf-traffic"), "serve-ids", "0"])
    wait_until(lambda: "listening on" in back_end.stdout(), 10, "the back end listens")
    back_port = int(back_end.stdout().split()[-1])
    for name, port, keep_alive in (("kept-alive back ends", 8001, True),
                                   ("a connection per request", 8002, False)):
        upstream = f"upstream back {{ server 127.0.0.1:{back_port}; " \
                   + (f"keepalive {NGINX_CONNECTIONS}; }}" if keep_alive else "}")
        lines = "location = / { proxy_pass http://back; proxy_pass_request_headers on; " + \
            ("proxy_http_version 1.1; proxy_set_header Connection ''; }" if keep_alive else "}")
        servers.start_nginx(bench, port, f"nginx-{port}", lines, upstream)
        bench.run([program("ebpf-traffic"), "ask-with-ids", servers.HOST, str(port),
                   str(NGINX_CONNECTIONS), str(NGINX_REQUESTS)])
    records = traced(bench, producer, trace)
    for name, port in (("kept-alive back ends", 8001), ("a connection per request", 8002)):
        worker = {record.process_id for record in records if record.lport == port}
        check_equal(len(worker), 1, "workers of nginx")

        def at_nginx(record):
            if record.process_id not in worker:
                return None
            return "asker" if record.lport == port else "back end"
        found = trace_ids(records, at_nginx)
        total = NGINX_CONNECTIONS * NGINX_REQUESTS
        numbers = range(1, total + 1)
        to_back = share([(found["asker", RECEIVED, at], found["back end", SENT, at])
                         for at in numbers])
        to_asker = share([(found["back end", RECEIVED, at], found["asker", SENT, at])
                          for at in numbers])
        print(f"  nginx, one worker, {NGINX_CONNECTIONS} connections, {name}: {to_back:.2%} of the "
              f"requests and {to_asker:.2%} of the responses go on with the right id")


main(a_thread_per_connection_is_always_right, nginx_with_one_worker_is_measured)
