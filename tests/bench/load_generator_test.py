#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The client of the server benches keeps its schedule, and does not spare a server that stalls."""

import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import lib  # noqa: E402
import server_load  # noqa: E402
import server_tracers  # noqa: E402
import server_workloads  # noqa: E402

RATE, SECONDS = 400, 2
STALL_S = 0.4


def a_stall_counts_for_all_requests_due_in_it(bench):
    lib.enter_own_network()
    workload = server_workloads.WORKLOADS["nginx"]
    server = workload.start(bench)

    def stall():
        pids = server_tracers.process_ids(server.pid)
        time.sleep(STALL_S / 2)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(STALL_S)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    thread = threading.Thread(target=stall)
    figures = server_load.generator(bench, workload, RATE, SECONDS, thread.start)
    thread.join()
    lib.check_equal(figures["requests"] + figures["timeouts"], RATE * SECONDS, "requests")
    # A fifth of the requests were due in the stall; a client that waits would show one for each
    # of its connections.
    lib.check(figures["p99_us"] >= 1e6 * STALL_S / 2, f"the stall is seen: {figures}")
    lib.check(figures["requests_per_s"] <= RATE, f"none was sent before its time: {figures}")


def a_batch_is_one_call_and_as_many_requests(bench):
    workload = server_workloads.WORKLOADS["redis-p16"]
    workload.start(bench)
    figures = server_load.generator(bench, workload, 16 * 100, 1, lambda: None)
    lib.check_equal(figures["sends"], 100, "calls")
    lib.check_equal(figures["requests"] + 16 * figures["timeouts"], 1600, "requests")


def queries_over_udp_find_their_answers(bench):
    workload = server_workloads.WORKLOADS["dns"]
    workload.start(bench)
    figures = server_load.generator(bench, workload, 0, 0.3, lambda: None)
    lib.check(figures["requests"] > 10 * figures["timeouts"], f"most are answered: {figures}")
    lib.check(figures["receives"] >= figures["requests"], f"an answer each: {figures}")


if __name__ == "__main__":
    lib.main(a_stall_counts_for_all_requests_due_in_it, a_batch_is_one_call_and_as_many_requests,
             queries_over_udp_find_their_answers)
