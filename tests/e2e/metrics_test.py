# SPDX-License-Identifier: Apache-2.0
"""`ebpfctl metrics`, scraped by a real Prometheus from a real run: every query of the dashboard
and of the alert rules is asked there."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import lib
from lib import check, check_equal, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "../../docs")
SLOW_CLIENTS = 60


def get(url, seconds=10):
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return answer.read().decode()


def values(text):
    """The samples of an exposition, by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def check_lint(text):
    done = subprocess.run([lib.foreign("promtool"), "check", "metrics"], input=text, text=True,
                          capture_output=True, timeout=30, check=False)
    check(done.returncode == 0 and not done.stdout + done.stderr,
          f"promtool check metrics: {done.stdout}{done.stderr}")


def exporter(bench, listen="127.0.0.1:0"):
    served = bench.start("exporter", [lib.program("ebpfctl"), "--socket", bench.socket, "metrics",
                                      "--listen", listen])
    wait_until(lambda: "listening: " in served.stdout() or not served.running(), 10, "it listens")
    check(served.running(), f"ebpfctl metrics ended: {served.stderr()}")
    return served, served.stdout().split("listening: ")[1].strip()


def prints_what_the_tracer_counted(bench):
    bench.producer("--threads", "2")
    agent = bench.agent()
    bench.smoke(5)
    wait_until(lambda: len(agent.records()) >= 40, 10, "records")
    text = bench.run([lib.program("ebpfctl"), "--socket", bench.socket, "metrics"]).stdout
    check_lint(text)
    found = values(text)
    shown = bench.ctl("tracer", "show")  # later, so that its counters are not below
    check(40 <= found['ebpf_records_total{protocol="HTTP"}'] +
          found['ebpf_records_total{protocol="DNS"}'] <= shown["user_enqueue_count"], "records")
    check(40 <= found["ebpf_events_emitted_total"] <= shown["kern_emitted"], "events")
    check_equal(found["ebpf_consumers"], 1, "ebpf_consumers")
    check_equal(found["ebpf_up"], 1, "ebpf_up")
    check(abs(found["ebpf_producer_start_time_seconds"] - time.time()) < 600, "start time")
    named = [name for name in found if 'pid="' in name or 'process="' in name]
    check_equal(named, [], "figures of single processes")
    each = bench.run([lib.program("ebpfctl"), "--socket", bench.socket, "metrics",
                      "--per-consumer"]).stdout
    check_lint(each)
    check(f'pid="{agent.pid}",process="ebpf-tail"' in each, f"the consumer is not named: {each}")
    as_json = bench.ctl("metrics")
    check_equal(as_json["schema_version"], 1, "schema_version")
    check(len(as_json["metrics"]) == text.count("# TYPE "), "the same metrics as JSON")


def serves_whatever_others_do(bench):
    served, url = exporter(bench)
    check_equal(values(get(url))["ebpf_up"], 0, "ebpf_up without a producer")
    first = bench.producer()
    wait_until(lambda: values(get(url)).get("ebpf_up") == 1, 10, "the producer is seen")
    check_lint(get(url))

    address = urllib.parse.urlsplit(url)
    slow = []
    for _ in range(SLOW_CLIENTS):  # who ask half a question, and wait
        client = socket.create_connection((address.hostname, address.port), 10)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        slow.append(client)
    check_equal(values(get(url, seconds=30))["ebpf_up"], 1, "ebpf_up beside slow clients")
    for client in slow:
        client.close()
    try:
        get(url.replace("/metrics", "/../../etc/passwd"))
        check(False, "another path is answered")
    except (urllib.error.HTTPError, http.client.HTTPException):
        pass

    check_equal(first.stop(), 0, "exit code of the producer")
    wait_until(lambda: values(get(url)).get("ebpf_up") == 0, 10, "the producer is missed")
    check_equal(served.stop(signal.SIGTERM), 0, "exit code of ebpfctl")
    taken = subprocess.run([lib.program("ebpfctl"), "metrics", "--listen", "192.0.2.1:9"],
                           capture_output=True, text=True, timeout=10, check=False)
    check_equal(taken.returncode, 1, "exit code where it cannot listen")
    check("192.0.2.1:9" in taken.stderr and "assign" in taken.stderr, taken.stderr)


class Prometheus:
    def __init__(self, bench, target):
        self.url = f"http://127.0.0.1:{lib.free_port()}"
        rules = os.path.abspath(f"{DOCS}/alerts.yml")
        with open(bench.path("prometheus.yml"), "w", encoding="utf-8") as config:
            config.write(f"""
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: libebpf
    static_configs: [{{targets: ['{urllib.parse.urlsplit(target).netloc}']}}]
""")
        self.server = bench.start("prometheus", [
            lib.foreign("prometheus"), f"--config.file={bench.path('prometheus.yml')}",
            f"--storage.tsdb.path={bench.path('tsdb')}", "--log.level=warn",
            f"--web.listen-address={urllib.parse.urlsplit(self.url).netloc}"])
        wait_until(self.ready, 60, "Prometheus answers")

    def ready(self):
        check(self.server.running(), f"prometheus ended: {self.server.stderr()}")
        try:
            return bool(get(f"{self.url}/-/ready"))
        except OSError:
            return False

    def ask(self, expression):
        """The result of a query; one that Prometheus does not understand is a failure."""
        try:
            text = get(f"{self.url}/api/v1/query?query={urllib.parse.quote(expression)}")
        except urllib.error.HTTPError as error:
            check(False, f"{expression}: {error.read().decode()}")
        answer = json.loads(text)
        check_equal(answer["status"], "success", expression)
        return answer["data"]["result"]


def dashboard_queries():
    with open(f"{DOCS}/grafana-dashboard.json", encoding="utf-8") as file:
        dashboard = json.load(file)
    return [target["expr"].replace("$instance", ".*").replace("$__rate_interval", "30s")
            for panel in dashboard["panels"] for target in panel["targets"]]


def every_query_is_answered(bench):
    bench.run([lib.foreign("promtool"), "check", "rules", f"{DOCS}/alerts.yml"])
    with open(f"{HERE}/alerts_test.yml", encoding="utf-8") as file:
        text = file.read().replace("[ALERTS]", f"['{os.path.abspath(DOCS)}/alerts.yml']")
    with open(bench.path("alerts_test.yml"), "w", encoding="utf-8") as file:
        file.write(text)
    bench.run([lib.foreign("promtool"), "test", "rules", bench.path("alerts_test.yml")])

    bench.producer()
    bench.agent()
    prometheus = Prometheus(bench, exporter(bench)[1])
    _, port = bench.nginx()

    def traffic_is_seen():
        get(f"http://127.0.0.1:{port}/metrics-test")
        rate = prometheus.ask('sum(rate(ebpf_records_total{protocol="HTTP"}[30s]))')
        return rate and float(rate[0]["value"][1]) > 0
    wait_until(traffic_is_seen, 60, "Prometheus sees a rate of HTTP records")

    queries = dashboard_queries()
    check(len(queries) >= 15, f"only {len(queries)} queries in the dashboard")
    for query in queries:
        wait_until(lambda asked=query: prometheus.ask(asked), 30, f"an answer to {query}")
    rules = json.loads(get(f"{prometheus.url}/api/v1/rules"))["data"]["groups"][0]["rules"]
    wait_until(lambda: all(rule["health"] == "ok" for rule in json.loads(
        get(f"{prometheus.url}/api/v1/rules"))["data"]["groups"][0]["rules"]), 30, "healthy rules")
    for rule in rules:
        prometheus.ask(rule["query"])
    alerts = json.loads(get(f"{prometheus.url}/api/v1/alerts"))["data"]["alerts"]
    firing = [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"]
    check_equal(firing, [], "alerts of a healthy run")


def on_a_loopback_of_its_own(_):
    lib.enter_own_network()


lib.main(on_a_loopback_of_its_own, prints_what_the_tracer_counted, serves_whatever_others_do,
         every_query_is_answered)
