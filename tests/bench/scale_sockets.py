# SPDX-License-Identifier: Apache-2.0
"""Part of scale_bench: what a call costs with so many sockets that the tracer knows, what they cost
while nothing happens, and how long an entry stays whose socket was closed."""
import time

from bench_json import spread
from scale_lib import Crowd, Tracer, idle_percent, lib, measure

RATE = 20_000  # pairs a second


def socket_map(tracer):
    return next(row for row in tracer.bench.ctl("map", "show")["maps"]
                if row["name"] == "socket_map")


def costs(tracer, worker, plan):
    """{pick: ([untraced ns], [traced ns], lost)} of rounds in turns."""
    found = {pick: ([], [], []) for pick in ("one", "random")}
    for _ in range(plan["rounds"]):
        for pick, (_, traced, lost) in found.items():
            row = measure(tracer, worker, plan["socket_pairs"], pick=pick, rate=RATE)
            traced.append(row["best_ns"])
            lost.append(row["lost"])
        tracer.bench.run_ctl("tracer", "stop")
        for pick, (untraced, _, _) in found.items():
            untraced.append(worker.work(plan["socket_pairs"], pick=pick, rate=RATE)["best_ns"])
        tracer.bench.run_ctl("tracer", "start")
    return found


def forget_closed(tracer, crowd, plan):
    """Closes some sockets; gives seconds until their entries are gone, and how many were gone when
    it gave up waiting."""
    before = tracer.show()["kern_socket_map_used"]
    closing = crowd.close(plan["close"])
    began = time.monotonic()
    while True:
        gone = before - tracer.show()["kern_socket_map_used"]
        took = time.monotonic() - began
        if gone >= closing or took > plan["forget_s"]:
            return {"closed": closing, "gone": max(gone, 0), "seconds": took}
        time.sleep(0.05)


def measure_sockets(bench, worker, plan):
    tracer = Tracer(bench, "--max-socket-entries", str(plan["socket_entries"]),
                    "--socket-map-max-reclaim", str(plan["socket_entries"]))
    crowd = Crowd(worker)
    out = []
    for wanted in plan["sockets"]:
        count = crowd.open(wanted)
        worker.work(20)
        used = tracer.account()["shown"]["kern_socket_map_used"]
        lib.check(used >= count, f"{count} sockets are open, {used} are known")
        found = costs(tracer, worker, plan)
        row = {"sockets": count, "map_bytes": socket_map(tracer)["memory_bytes"],
               "lost": sum(sum(lost) for _, _, lost in found.values())}
        for pick, (untraced, traced, _) in found.items():
            row[f"{pick}_untraced_ns"] = spread(untraced)
            row[f"{pick}_added_ns"] = spread([a - b for a, b in zip(traced, untraced)])
        time.sleep(1.1)  # the sweep looks at what was idle for a second
        control, drain = idle_percent(tracer, plan["idle_s"])
        row.update(idle_control_percent=control, idle_drain_percent=drain,
                   idle_percent=control + drain, forget=forget_closed(tracer, crowd, plan))
        out.append(row)
        if count < wanted:
            break  # the system allows no more
    crowd.end()
    tracer.end()
    return out
