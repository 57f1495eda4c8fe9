# SPDX-License-Identifier: Apache-2.0
"""Every system call, protocol and address family, each field against what the traffic did."""

from lib import check, check_equal, main, wait_until
from smoke_check import check_smoke

PROBLEMS_SHOWN = 15


def records_of(agent, report):
    pids = (report["client_pid"], report["server_pid"])
    return [record for record in agent.records() if record["process_id"] in pids]


def check_complete(bench, agent, report, cap_bytes=512):
    """Waits for as many records as there must be, ends the agent, compares every field."""
    wanted = 4 * report["exchanges"] * len(report["flows"])
    try:
        wait_until(lambda: len(records_of(agent, report)) >= wanted, 10, "every record")
    except Exception as error:  # noqa: BLE001: the comparison below says it better
        print(f"note: {error}")
    agent.finish()
    problems, captured, expected = check_smoke(report, records_of(agent, report), cap_bytes)
    for problem in problems[:PROBLEMS_SHOWN]:
        print(f"  {problem}")
    check(not problems, f"{len(problems)} fields or records are not as they must be")
    check_equal(captured, expected, "records by kind")
    check_equal(agent.gaps(), [], "gaps")


def every_field_is_right(bench):
    bench.producer()
    agent = bench.agent("c++")
    check_complete(bench, agent, bench.smoke(10))


def the_rust_agent_sees_the_same(bench):
    bench.producer()
    agent = bench.agent("rust")
    check_complete(bench, agent, bench.smoke(5))


def per_syscall_tracepoints_give_the_same(bench):
    bench.producer("--attach", "tracepoint")
    check_equal(bench.ctl("tracer", "show").get("attach"), "tracepoint", "attach back end")
    agent = bench.agent()
    check_complete(bench, agent, bench.smoke(5))


def searched_offsets_give_the_same(bench):
    bench.producer("--offsets", "search")
    agent = bench.agent()
    check_complete(bench, agent, bench.smoke(5))


def a_smaller_capture_limit_cuts_payloads_only(bench):
    bench.producer("--cap-len", "64")
    agent = bench.agent()
    check_complete(bench, agent, bench.smoke(5), cap_bytes=64)


def several_lanes_keep_each_socket_in_order(bench):
    bench.producer("--threads", "4")
    agent = bench.agent()
    report = bench.smoke(5)
    wanted = 4 * report["exchanges"] * len(report["flows"])
    wait_until(lambda: len(records_of(agent, report)) >= wanted, 10, "every record")
    agent.finish()
    # Between lanes there is no order: sort by time, which is a thread's own order.
    records = sorted(records_of(agent, report), key=lambda record: record["timestamp"])
    numbers = {}
    for record in records_of(agent, report):
        numbers.setdefault(record["socket_id"], []).append(record["cap_seq"])
    for socket_id, seen in numbers.items():
        check_equal(seen, list(range(len(seen))), f"cap_seq of socket {socket_id}")
    check_equal(len(records), wanted, "records")


if __name__ == "__main__":
    main(every_field_is_right, the_rust_agent_sees_the_same, per_syscall_tracepoints_give_the_same,
         searched_offsets_give_the_same, a_smaller_capture_limit_cuts_payloads_only,
         several_lanes_keep_each_socket_in_order)
