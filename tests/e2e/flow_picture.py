# SPDX-License-Identifier: Apache-2.0
"""Makes docs/images/flow.png: `ebpfctl flow` of a real request through nginx to a back end."""

import json
import os

import flow_test
import lib
import servers
from lib import enter_own_network, main, program, wait_until

PICTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/images/flow.png")


def the_picture_of_a_flow(bench):
    lib.BIN = os.path.abspath(lib.BIN)
    os.chdir(bench.folder)  # the page names the file as it was given
    trace, page = "proxy.ebpfrec", bench.path("flow.html")
    producer = bench.producer("--record", trace)
    back_end = bench.start("back-end", [program("ebpf-traffic"), "serve-ids", "0"])
    wait_until(lambda: "listening on" in back_end.stdout(), 10, "the back end listens")
    port = int(back_end.stdout().split()[-1])
    servers.start_nginx(bench, flow_test.NGINX, "nginx", "location = / { proxy_pass http://back; }",
                        f"upstream back {{ server 127.0.0.1:{port}; }}")
    servers.curl(bench, "-H", "X-Request-Id: 1", f"http://{servers.HOST}:{flow_test.NGINX}/")
    producer.stop()
    groups = map(json.loads, flow_test.flow(bench, trace, "-o", "json").stdout.splitlines())
    group = next(group for group in groups if group["hops"] == 4)
    flow_test.flow(bench, str(group["trace_ids"][0]), "--from", trace, "--html", page)
    os.makedirs(os.path.dirname(PICTURE), exist_ok=True)
    flow_test.browser(bench, page, "--window-size=1900,400", f"--screenshot={PICTURE}")


if __name__ == "__main__":
    enter_own_network()
    main(the_picture_of_a_flow)
