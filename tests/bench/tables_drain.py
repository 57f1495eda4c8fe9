# SPDX-License-Identifier: Apache-2.0
"""The tables of drain_bench."""
from markdown import about, number, spread, table


def thousands(value):
    return f"{value:,.0f}"


def lost(row):
    """Of all rounds, by where."""
    places = {"lost_in_buffers": "in the buffers", "lost_at_ring": "at the ring",
              "lost_by_consumer": "by the consumer"}
    sums = {place: sum(account[place] for account in row["accounts"]) for place in places}
    emitted = sum(account["emitted"] for account in row["accounts"])
    parts = [f"{100 * sums[place] / emitted:.3g} % {words}" for place, words in places.items()
             if sums[place]]
    return ", ".join(parts) if parts else "0"


def flat_out(rows):
    return "**Flat out**, events/s: all that one thread can have made\n\n" + table(
        ["", "bytes", "emitted", "delivered", "lost", "drain, ns of CPU per event"],
        [[row["transport"], thousands(row["bytes"]),
          thousands(row["emitted_per_s"]["median"]), spread(row["delivered_per_s"], thousands),
          lost(row), spread(row["drain_ns_per_event"])] for row in rows])


def paced(rows):
    return "**At a given rate**, 640 bytes\n\n" + table(
        ["", "events/s", "CPUs", "delivered/s", "lost", "drain, ns of CPU per event",
         "drain, % of a core"],
        [[row["transport"], thousands(row["per_s"]), row["cpus"],
          thousands(row["delivered_per_s"]["median"]), lost(row),
          spread(row["drain_ns_per_event"]), spread(row["drain_cpu_percent"])] for row in rows])


def latency(rows):
    return "**From the end of the call to the callback** of a consumer that sleeps, µs\n\n" + table(
        ["", "events/s", "p50", "p99", "p99.9", "drain, % of a core"],
        [[row["mode"], thousands(row["per_s"])] +
         [spread(row[name]) for name in ("p50_us", "p99_us", "p999_us")] +
         [number(row["drain_cpu_percent"]["median"])] for row in rows])


def idle(rows):
    return "**Idle**, % of a core, and wake-ups per second\n\n" + table(
        ["", "consumers", "in all", "drain thread", "control thread", "drain, wake-ups",
         "control, wake-ups"],
        [[row["mode"], str(row["consumers"])] +
         [number(row[name]) for name in
          ("cpu_percent", "drain_cpu_percent", "control_cpu_percent", "drain_wakeups_per_s",
           "control_wakeups_per_s")] for row in rows])


PARTS = {"rates": flat_out, "paced": paced, "latency": latency, "idle": idle}


def sections(document):
    return [about(document, f"of {document['settings']['seconds']} s")] + \
           [make(document[part]) for part, make in PARTS.items() if part in document]
