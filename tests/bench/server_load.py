# SPDX-License-Identifier: Apache-2.0
"""The clients of the server benches: our own with a fixed schedule, and those that people know.

Each gives the same figures: requests, requests_per_s, p50_us, p99_us, and client_us, the CPU time
of the client per request. `begin` is called when the connections stand, just before the load.
"""

import json
import os
import re
import subprocess

import lib
import servers

BUILD = os.path.join(lib.BIN, "..")
GENERATOR = "load_generator"
THREADS = 2  # of the clients that can have several
US = {"us": 1, "ms": 1e3, "s": 1e6}


def built(name):
    """Something that was built for the tests and benches."""
    path = os.path.abspath(os.path.join(BUILD, "tests", name))
    lib.check(os.path.exists(path), f"{path} is not built")
    return path


def generator(bench, workload, rate, seconds, begin):
    """rate 0: as fast as the connections allow."""
    command = [built(GENERATOR), "--address", servers.HOST, "--port", str(workload.port),
               "--request",
               servers.write(bench.path(f"{workload.name}.request"), workload.request),
               "--connections", str(workload.connections), "--batch", str(workload.batch),
               "--rate", str(rate), "--seconds", str(seconds)]
    if workload.udp:
        command.append("--udp")
    if workload.login:
        command += ["--login", servers.write(bench.path(f"{workload.name}.login"), workload.login)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          preexec_fn=lib.die_with_parent) as client:
        lib.check_equal(client.stdout.readline(), "ready\n", "the load generator is ready")
        begin()
        client.stdin.write("go\n")
        client.stdin.flush()
        said = client.stdout.readline()
    lib.check_equal(client.returncode, 0, "exit code of the load generator")
    figures = json.loads(said)
    lib.check(figures["requests"] > 0, f"no request was answered: {said}")
    lib.check_equal(figures.pop("errors"), 0, "answers of another length")
    return figures


def run_client(bench, command, seconds, begin):
    """A client that is gone afterwards: its output, and its CPU time in microseconds."""
    begin()
    before = os.times()
    said = bench.run(command, seconds=60 + 4 * seconds).stdout
    after = os.times()
    spent = (after.children_user + after.children_system
             - before.children_user - before.children_system)
    return said, spent * 1e6


def wrk(bench, workload, seconds, begin):
    whole = max(round(seconds), 1)
    said, spent_us = run_client(
        bench, [lib.foreign("wrk"), f"-t{THREADS}", f"-c{workload.connections}", f"-d{whole}s",
                "--latency", f"http://{servers.HOST}:{workload.port}{workload.path}"],
        whole, begin)

    def latency_us(percent):
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", said).groups()
        return float(value) * US[unit]
    requests = int(re.search(r"(\d+) requests in", said).group(1))
    lib.check(requests > 0, f"wrk made no request: {said}")
    return {"requests": requests, "client_us": spent_us / requests,
            "requests_per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)),
            "p50_us": latency_us(50), "p99_us": latency_us(99)}


def redis_benchmark(bench, workload, requests, begin):
    said, spent_us = run_client(
        bench, [lib.foreign("redis-benchmark"), "-h", servers.HOST, "-p", str(workload.port),
                "-P", str(workload.batch), "-c", str(workload.connections), "-n", str(requests),
                "-t", "get", "-d", "64", "--csv"], 30, begin)
    head, row = [[cell.strip('"') for cell in line.split(",")]
                 for line in said.strip().splitlines()[-2:]]
    figures = dict(zip(head, row))
    return {"requests": requests, "client_us": spent_us / requests,
            "requests_per_s": float(figures["rps"]),
            "p50_us": 1000 * float(figures["p50_latency_ms"]),
            "p99_us": 1000 * float(figures["p99_latency_ms"])}


def dnsperf(bench, workload, seconds, begin):
    """It tells the mean of the latency only."""
    queries = servers.write(bench.path("queries"), "www.example.test A\n")
    whole = max(round(seconds), 1)
    said, spent_us = run_client(
        bench, [lib.foreign("dnsperf"), "-s", servers.HOST, "-p", str(workload.port), "-d", queries,
                "-l", str(whole), "-c", str(workload.connections), "-q", "100"], whole, begin)
    requests = int(re.search(r"Queries completed:\s+(\d+)", said).group(1))
    lost = int(re.search(r"Queries lost:\s+(\d+)", said).group(1))
    return {"requests": requests, "client_us": spent_us / requests, "timeouts": lost,
            "requests_per_s": float(re.search(r"Queries per second:\s+([\d.]+)", said).group(1)),
            "p50_us": None, "p99_us": None}
