# SPDX-License-Identifier: Apache-2.0
"""The tables of scale_bench."""
from markdown import about, number, spread, table


def mib(count):
    """Bytes as MiB, with a digit where there are few."""
    value = count / 2**20
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def share(part, whole):
    return f"{part:,} of {whole:,}" if part else "0"


def consumers(document):
    rows = [[str(row["consumers"]), spread(row["pair_added_ns"]), spread(row["drain_ns"]),
             number(row["wakeups"] / (row["published"] / 1000)), share(row["lost"],
                                                                      row["published"] + row["lost"]),
             share(row["lapped_all"], row["published"] * row["consumers"])]
            for row in document["consumers"]]
    rate = document["consumers"][0]["rate_per_s"]
    return (f"**Consumers** ({rate:,} records/s; every one reads all), ns\n\n" +
            table(["", "added to a pair", "drain, per record", "wake-ups per 1,000 records",
                   "lost before the ring", "lapped"], rows))


def sockets(document):
    rows = []
    for row in document["sockets"]:
        forget = row["forget"]
        gone = (f"{forget['closed']:,} in {forget['seconds']:.1f} s"
                if forget["gone"] >= forget["closed"]
                else f"{forget['gone']:,} of {forget['closed']:,} in {forget['seconds']:.1f} s")
        gone = gone if forget["closed"] else ""
        rows.append([f"{row['sockets']:,}", number(row["one_untraced_ns"]["median"]),
                     spread(row["one_added_ns"]), number(row["random_untraced_ns"]["median"]),
                     spread(row["random_added_ns"]),
                     f"{row['idle_control_percent']:.2f} + {row['idle_drain_percent']:.2f} %",
                     mib(row["map_bytes"]), gone])
    return ("**Open sockets that the tracer knows**: a pair on one of them, and on those of one "
            "process at random, ns\n\n" +
            table(["", "one, untraced", "added", "random, untraced", "added",
                   "idle: control + drain thread", "socket map, MiB", "closed ones are forgotten"],
                  rows))


def threads(document):
    rows = [[str(row["threads"]), spread(row["untraced_ns"]), spread(row["pair_added_ns"]),
             spread(row["drain_ns"]), share(row["lost"], row["emitted"])]
            for row in document["threads"]]
    rate = document["threads"][0]["rate_per_s"]
    return (f"**Threads that make traced calls** ({rate:,} records/s of all together), ns\n\n" +
            table(["", "a pair, untraced", "added", "drain, per record", "lost"], rows))


def buffers(document):
    rows = [[row["transport"], f"{row['pages']:,}", mib(row["buffer_bytes"]),
             f"{row['lost_percent']['median']:.1f} %", spread(row["drain_ns"])]
            for row in document["buffers"]]
    each = document["buffers"][0]["emitted"] // document["settings"]["rounds"]
    return (f"**Buffers of the CPUs**: {each:,} records at once, without a pause\n\n" +
            table(["", "`--perf-pages`", "MiB in all", "lost", "drain, ns per record"], rows))


def rings(document):
    rows = [[f"{row['ring_size']:,}", str(row["lanes"]), mib(row["ring_bytes"]),
             spread(row["drain_ns"]), share(row["lost"], row["published"] + row["lost"])]
            for row in document["rings"]]
    return ("**Size of the ring and lanes**, one consumer\n\n" +
            table(["`--ring-size`", "`--threads`", "MiB at most", "drain, ns per record", "lost"],
                  rows))


def memory(document):
    rows = [[row["options"] if row["options"] == "default" else f"`{row['options']}`"] +
            [mib(row[key]) for key in ("rss_bytes", "pss_bytes", "memfd_bytes", "buffer_bytes",
                                       "map_bytes")]
            for row in document["memory"] if "failure" not in row]
    return ("**Memory of the producer**, MiB; the ring is part of RSS and PSS, and so are the "
            "buffers as far as they were used; BPF maps are not\n\n" +
            table(["", "RSS", "PSS", "ring, taken", "buffers of the CPUs", "BPF maps"], rows))


def sections(document):
    parts = {"consumers": consumers, "sockets": sockets, "threads": threads, "buffers": buffers,
             "rings": rings, "memory": memory}
    return [about(document)] + [make(document) for part, make in parts.items() if part in document]
