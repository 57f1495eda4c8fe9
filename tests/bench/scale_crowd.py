# SPDX-License-Identifier: Apache-2.0
"""Parts of scale_bench: what more consumers cost the producer and the traced thread, and what
threads cost that make traced calls at the same time."""
from bench_json import spread
from scale_lib import Tracer, lib, measure

RATE = 10_000  # pairs a second: 20,000 records
CROWD_RATE = 40_000  # of all threads together


def consumer_accounts(tracer, before):
    """What each reader got since `before`; waits until nothing is unread."""
    def caught_up():
        rows = tracer.consumers()
        return (rows,) if all(row["lag_records"] == 0 for row in rows) else None
    rows, = lib.wait_until(caught_up, 20, "the readers catch up")
    accounts = []
    for row in rows:
        old = before[row["id"]]
        account = {key: row[key] - old[key]
                   for key in ("published", "delivered", "filtered", "lost", "wakeups")}
        lib.check_equal(account["delivered"] + account["filtered"] + account["lost"],
                        account["published"], f"account of consumer {row['id']}")
        accounts.append(account)
    return accounts


def with_consumers(bench, worker, plan):
    """{count: measurements of all rounds}"""
    rows = {count: [] for count in plan["consumers"]}
    for _ in range(plan["rounds"]):
        tracer = Tracer(bench)
        worker.work(200)
        for count in plan["consumers"]:
            tracer.add_readers(count)
            before = {row["id"]: row for row in tracer.consumers()}
            row = measure(tracer, worker, plan["consumer_pairs"], rate=RATE)
            accounts = consumer_accounts(tracer, before)
            row["delivered"] = min((a["delivered"] for a in accounts), default=0)
            row["lapped"] = sum(a["lost"] for a in accounts)
            row["wakeups"] = sum(a["wakeups"] for a in accounts)
            for account in accounts:
                lib.check(account["published"] >= row["published"], "every reader is owed them all")
            rows[count].append(row)
        tracer.end()
    return rows


def measure_consumers(bench, worker, plan):
    untraced = [worker.work(plan["consumer_pairs"], rate=RATE)["best_ns"]
                for _ in range(plan["rounds"])]
    out = []
    for count, rows in with_consumers(bench, worker, plan).items():
        out.append({"consumers": count, "rate_per_s": 2 * RATE,
                    "pair_added_ns": spread([row["best_ns"] - none
                                             for row, none in zip(rows, untraced)]),
                    "drain_ns": spread([row["drain_ns"] for row in rows]),
                    "published": sum(row["published"] for row in rows),
                    "lost": sum(row["lost"] for row in rows),
                    "delivered_each": sum(row["delivered"] for row in rows),
                    "lapped_all": sum(row["lapped"] for row in rows),
                    "wakeups": sum(row["wakeups"] for row in rows)})
    return out


def measure_threads(bench, worker, plan):
    """Untraced and traced in turns; the pairs of all threads together stay the same in number."""
    counts, pairs = plan["threads"], plan["thread_pairs"]
    worker.open(max(counts))
    none = {count: [] for count in counts}
    rows = {count: [] for count in counts}
    tracer = Tracer(bench)
    for _ in range(plan["rounds"]):
        tracer.bench.run_ctl("tracer", "stop")
        for count in counts:
            none[count].append(worker.work(pairs, threads=count, rate=CROWD_RATE))
        tracer.bench.run_ctl("tracer", "start")
        for count in counts:
            rows[count].append(measure(tracer, worker, pairs, threads=count, rate=CROWD_RATE))
    tracer.end()
    return [{"threads": count, "rate_per_s": 2 * CROWD_RATE,
             "untraced_ns": spread([row["best_ns"] for row in none[count]]),
             "pair_added_ns": spread([row["best_ns"] - untraced["best_ns"]
                                      for row, untraced in zip(rows[count], none[count])]),
             "drain_ns": spread([row["drain_ns"] for row in rows[count]]),
             "emitted": sum(row["emitted"] for row in rows[count]),
             "lost": sum(row["lost"] for row in rows[count])} for count in counts]
