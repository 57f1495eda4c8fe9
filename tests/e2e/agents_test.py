# SPDX-License-Identifier: Apache-2.0
"""What happens to one agent costs no other agent a record."""

import json
import signal
import subprocess

from lib import check, check_equal, main, program, wait_until
from smoke_check import check_smoke
from smoke_test import check_complete

EXCHANGES = 300
# Room for all of it in one CPU's perf buffer: this is about agents, not about a busy machine.
PERF_PAGES = "2048"


def start_smoke(exchanges):
    return subprocess.Popen([program("ebpf-traffic"), "smoke", "--exchanges", str(exchanges)],
                            stdout=subprocess.PIPE, text=True)


def kill_in_the_middle(bench, attempt):
    """Kills an agent while traffic runs; gives it and the traffic, or None if that was over."""
    killed = bench.agent("c++", name=f"killed-{attempt}")
    traffic = start_smoke(EXCHANGES)
    wait_until(lambda: len(killed.lines()) > 100, 10, "the agent to be killed prints")
    is_in_time = traffic.poll() is None
    check_equal(killed.stop(signal.SIGKILL), -signal.SIGKILL, "end of the killed agent")
    report = json.loads(traffic.communicate(timeout=60)[0])
    return (killed, report) if is_in_time else None


def killing_one_agent_leaves_the_others_stream_complete(bench):
    bench.producer("--perf-pages", PERF_PAGES)
    for attempt in range(10):
        agent = bench.agent("rust", name=f"agent-{attempt}")
        done = kill_in_the_middle(bench, attempt)
        if done:
            break
        agent.finish()
    check(done, "an agent can be killed while the traffic goes on")
    killed, report = done
    check_complete(bench, agent, report)
    pids = (report["client_pid"], report["server_pid"])
    check(sum(record["process_id"] in pids for record in killed.records()) <
          4 * EXCHANGES * len(report["flows"]), "the killed agent died in the middle of the stream")


def a_stopped_agent_costs_another_nothing(bench):
    bench.producer("--perf-pages", PERF_PAGES)
    stopped = bench.agent("rust")
    stopped.send_signal(signal.SIGSTOP)
    agent = bench.agent("c++")
    report = json.loads(start_smoke(EXCHANGES).communicate(timeout=60)[0])
    check_complete(bench, agent, report)
    stopped.send_signal(signal.SIGCONT)
    wanted = 4 * EXCHANGES * len(report["flows"])
    wait_until(lambda: len(stopped.lines()) >= wanted or stopped.gaps(), 30,
               "the stopped one catches up")
    stopped.finish()
    # Where it was lapped, by other traffic of this machine, it is told how much it lost.
    numbers = dict(reversed(part.split(" ", 1)) for part in
                   stopped.stderr().strip().split(": ")[-1].split(", ") if "re-" not in part)
    counts = {name: int(number) for name, number in numbers.items()}
    check_equal(counts["published"], counts["delivered"] + counts["lost"] + counts["unread"],
                "published = delivered + lost + unread")
    if not stopped.gaps():
        pids = (report["client_pid"], report["server_pid"])
        late = [record for record in stopped.records() if record["process_id"] in pids]
        check_equal(check_smoke(report, late)[0][:5], [], "what the stopped agent read later")


def count_ends_an_agent(bench):
    bench.producer()
    agents = [bench.agent("c++", "--count", "7"), bench.agent("rust", "--count", "7")]
    bench.smoke(5)
    for agent in agents:
        check_equal(agent.wait(), 0, f"exit code of {agent.name}")
        check_equal(len(agent.records()), 7, f"records of {agent.name}")


if __name__ == "__main__":
    main(killing_one_agent_leaves_the_others_stream_complete,
         a_stopped_agent_costs_another_nothing, count_ends_an_agent)
