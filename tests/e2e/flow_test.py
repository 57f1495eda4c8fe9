# SPDX-License-Identifier: Apache-2.0
"""ebpfctl flow, and tail --by-trace: a request over all of its hops, and the page in a browser."""

import json
import os
import re
import socket
import subprocess

import servers
import trace_file
from lib import check, check_equal, enter_own_network, foreign, main, program, wait_until

NGINX = 28481
PAYLOADS = [
    b"GET /<script>alert(1)</script> HTTP/1.1\r\n\r\n",
    b"GET /\"><img src=http://127.0.0.1:%d/leak onerror=alert(2)> HTTP/1.1\r\n\r\n",
    b"</code></td></table><style>@import 'http://127.0.0.1:%d/style';</style>\r\n",
    "GET /\u202ereversed\u2066 \x1b[31m\x9b".encode() + b"\r\n",
    bytes(value for value in range(256) if value != 10),
    b"&lt;b&gt; &amp;",
]
NAMES = [b"<b>bold</b>", b"\"onload=x", b"\x1b]0;title\x07", b"\xe2\x80\xaename", b"'&<>", b"plain"]


def flow(bench, *arguments, wanted=0):
    return bench.run([program("ebpfctl"), "--socket", bench.socket, "flow", *arguments],
                     wanted=wanted)


def a_request_through_a_proxy_is_one_flow(bench):
    trace = bench.path("proxy.ebpfrec")
    producer = bench.producer("--record", trace)
    back_end = bench.start("back-end", [program("ebpf-traffic"), "serve-ids", "0"])
    wait_until(lambda: "listening on" in back_end.stdout(), 10, "the back end listens")
    port = int(back_end.stdout().split()[-1])
    servers.start_nginx(bench, NGINX, "nginx",
                        "location = / { proxy_pass http://back; proxy_pass_request_headers on; }",
                        f"upstream back {{ server 127.0.0.1:{port}; }}")
    for number in (1, 2, 3):
        servers.curl(bench, "-H", f"X-Request-Id: {number}", f"http://{servers.HOST}:{NGINX}/")
    check_equal(producer.stop(), 0, "exit code of the producer")

    groups = [json.loads(line) for line in flow(bench, trace, "-o", "json").stdout.splitlines()]
    mine = [group for group in groups
            if any(record["rport"] == NGINX for record in group["records"])]
    check_equal(len(mine), 3, "requests")
    for group in mine:
        names = [record["process_name"] for record in group["records"]]
        check({"curl", "nginx"} < set(names) and len(set(names)) == 3, f"processes: {names}")
        check_equal(group["processes"], 3, "processes of a request")
        check_equal(group["hops"], 4, "messages: to the proxy, to the back end, and both answers")
        ids = {record["syscall_trace_id_call"] for record in group["records"]}
        check_equal(set(group["trace_ids"]), ids - {0}, "trace ids")

    # Every id of the request leads to all of it.
    for trace_id in mine[1]["trace_ids"]:
        one = flow(bench, str(trace_id), "--from", trace, "-o", "json").stdout
        check(json.dumps(mine[1]["records"][0])[:50] in json.dumps(json.loads(
            one.splitlines()[0])["records"]) or len(one.splitlines()) > 1, f"flow of {trace_id}")
    by_trace = bench.run([program("ebpfctl"), "tail", "--from", trace, "--by-trace"]).stdout
    check_equal(by_trace.count("== 4 hops, 3 processes"), 3, "groups of tail --by-trace")
    missing = flow(bench, "7", "--from", trace, wanted=1)
    check("no record with trace id 7" in missing.stderr, f"what is missing: {missing.stderr!r}")

    page = bench.path("proxy.html")
    flow(bench, trace, "--html", page)
    check_equal(os.stat(page).st_mode & 0o777, 0o600, "mode of the page")
    refused = flow(bench, trace, "--html", page, wanted=1)
    check("--force" in refused.stderr, f"an existing page stays: {refused.stderr!r}")
    full = flow(bench, trace, "--html", "/dev/full", wanted=1)
    check("No space left on device" in full.stderr, f"a full disk is told: {full.stderr!r}")


def the_ring_is_asked_for_an_id(bench):
    bench.producer()
    bench.smoke(2)

    def an_id():
        done = bench.run([program("ebpfctl"), "--socket", bench.socket, "tail", "--oldest",
                          "--seconds", "0.2", "-o", "json"])
        ids = [json.loads(line).get("syscall_trace_id_call") for line in done.stdout.splitlines()]
        return next(filter(None, ids), None)
    trace_id = wait_until(an_id, 10, "a trace id")
    text = flow(bench, str(trace_id)).stdout
    check(f"trace={trace_id} " in text, f"the flow of {trace_id}: {text[:500]}")


def browser(bench, page, *arguments):
    # Debian's start script wants a home and a place for the profile.
    environment = {**os.environ, "HOME": bench.folder}
    command = [foreign("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
               "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars",
               f"--user-data-dir={bench.path('chromium')}", "--window-size=1300,1000", *arguments,
               f"file://{page}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=90,
                          env=environment, check=False)
    check_equal(done.returncode, 0, f"exit code of chromium: {done.stderr[-500:]}")
    return done.stdout.decode("utf-8", "replace")


def hostile_bytes_stay_text_in_a_browser(bench):
    trace, page = bench.path("hostile.ebpfrec"), bench.path("hostile.html")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        frames = []
        for at, payload in enumerate(PAYLOADS):
            payload = payload % port if b"%d" in payload else payload
            for direction in (trace_file.SENT, trace_file.RECEIVED):
                ends = (("127.0.0.1", 1000 + at), ("127.0.0.1", 80))
                local, remote = ends if direction == trace_file.SENT else ends[::-1]
                frames.append(trace_file.record_frame(
                    process_id=100 + at + 50 * direction, name=NAMES[(at + direction) % len(NAMES)],
                    local=local, remote=remote, socket_id=1 + 2 * at + direction,
                    trace_id=1000 + at, timestamp=10**15 + 100 * at + direction,
                    direction=direction, payload=payload))
        trace_file.write(trace, frames)
        flow(bench, trace, "--html", page)
        with open(page, "rb") as file:
            content = file.read()
        check(all(0x20 <= byte < 0x7f or byte == 10 for byte in content), "the page is plain ASCII")
        check(b"Content-Security-Policy" in content and b"<script" not in content,
              "no script, and a policy against it")

        dom = browser(bench, page, "--virtual-time-budget=2000", "--dump-dom")
        elements = set(re.findall(r"<([a-z0-9]+)", dom))
        check(elements <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div",
                           "table", "thead", "tbody", "tr", "th", "td", "span", "small", "code",
                           "svg", "line", "path"}, f"elements: {sorted(elements)}")
        check("&lt;script&gt;alert(1)&lt;/script&gt;" in dom, "the payload is there, as text")
        check(not re.search(r"<[^>]*\son\w+=", dom), "no handler of events")
        pictures = {}
        for scheme, number in (("dark", 0), ("light", 1)):
            picture = bench.path(f"{scheme}.png")
            browser(bench, page, f"--blink-settings=preferredColorScheme={number}",
                    f"--screenshot={picture}")
            with open(picture, "rb") as file:
                pictures[scheme] = file.read()
            check(len(pictures[scheme]) > 10000, f"the {scheme} picture shows something")
        check(pictures["dark"] != pictures["light"], "dark and light differ")
        listener.settimeout(0.2)
        try:
            listener.accept()
            asked = True
        except TimeoutError:
            asked = False
        check(not asked, "the page asked the network for something")


if __name__ == "__main__":
    enter_own_network()
    main(a_request_through_a_proxy_is_one_flow, the_ring_is_asked_for_an_id,
         hostile_bytes_stay_text_in_a_browser)
