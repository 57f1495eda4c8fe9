# SPDX-License-Identifier: Apache-2.0
"""A recorded trace, played again, is the trace."""

import os

from lib import check, check_equal, main, wait_until
from smoke_check import check_smoke


def record(bench, exchanges):
    """Traces the smoke traffic into a file; gives its report and what an agent saw live."""
    path = bench.path("trace.ebpfrec")
    producer = bench.producer("--record", path, name="recording")
    agent = bench.agent(name="live")
    report = bench.smoke(exchanges)
    wanted = 4 * exchanges * len(report["flows"])
    wait_until(lambda: len(agent.records()) >= wanted, 10, "every record")
    check_equal(producer.stop(), 0, "exit code of the recording producer")
    return path, report, agent.finish()


def replay_gives_the_same_records(bench):
    path, report, live = record(bench, 5)
    check_equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the recording")
    pids = (report["client_pid"], report["server_pid"])
    producer = bench.producer("--replay", path, "--speed", "0", "--wait-consumers", "2",
                              "--linger", "0.5", name="replaying")
    agents = [bench.agent("c++", attached=False), bench.agent("rust", attached=False)]
    check_equal(producer.wait(20), 0, "exit code of the replay, which ends by itself")
    for agent in agents:
        replayed = agent.finish()
        mine = [line for line in replayed if line["process_id"] in pids]
        check_equal(check_smoke(report, mine)[0], [], f"{agent.name} on the replay")
        # The file may hold what came after the agent had left, from other processes.
        check_equal(replayed[:len(live)], live, f"records of {agent.name}, live and replayed")


def a_file_that_is_none_is_refused(bench):
    path = bench.path("wrong.ebpfrec")
    with open(path, "wb") as file:
        file.write(b"this is no trace" * 100)
    producer = bench.producer("--replay", path, wait=False)
    check_equal(producer.wait(), 1, "exit code")
    check(path in producer.stderr(), f"the file is named: {producer.stderr()!r}")


def a_truncated_file_plays_as_far_as_it_goes(bench):
    path, _, live = record(bench, 2)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 100)
    producer = bench.producer("--replay", path, "--speed", "0", "--wait-consumers", "1",
                              "--linger", "0.5", name="replaying")
    agent = bench.agent(attached=False)
    code = producer.wait(20)
    replayed = agent.finish()
    check(0 < len(replayed), "the whole records are replayed")
    check_equal(replayed[:len(live)], live[:len(replayed)], "records before the cut")
    check("trace.ebpfrec" in producer.stderr(), f"the cut is told ({code}): {producer.stderr()!r}")


main(replay_gives_the_same_records, a_file_that_is_none_is_refused,
     a_truncated_file_plays_as_far_as_it_goes)
