# SPDX-License-Identifier: Apache-2.0
"""The tables of ring_bench."""
from markdown import about, millions, spread, table


def throughput(document):
    out = []
    modes = [("lossless", "**Lossless** (nobody loses a record; median, lowest and highest round)"),
             ("flat-out", "**Flat out** (the producer waits for nobody; what readers lose is shown)")]
    for mode, title in modes:
        rows = []
        for row in document.get("throughput", []):
            if row["mode"] != mode:
                continue
            line = [row["transport"], f"{row['record_bytes']}", f"1→{row['consumers']}"]
            if "failure" in row:
                rows.append(line + [row["failure"], "", ""])
                continue
            total = row["delivered"] + row["lost"]
            rows.append(line + [millions(row["published_per_s"]["median"]),
                                spread(row["delivered_per_s_slowest"], millions),
                                f"{100 * row['lost'] / total:.1f} %" if total else "–"])
        head = ["", "bytes", "to", "published", "slowest consumer", "lost"]
        out.append(f"{title}, million records/s\n\n{table(head, rows)}")
    return "\n\n".join(out)


def latency(document):
    rows = []
    for row in document.get("latency", []):
        line = [row["transport"], row["reader"]]
        if "failure" in row:
            rows.append(line + [row["failure"], "", ""])
            continue
        rows.append(line + [f"{row[q]['median']:,.0f}" for q in ("p50_ns", "p99_ns", "p999_ns")])
    return ("**One-way latency**, 672 bytes, ns (medians over the rounds)\n\n" +
            table(["", "reader", "p50", "p99", "p99.9"], rows))


def producer_cpu(document):
    one = "{:.1f}".format
    rows = []
    for row in document.get("producer_cpu", []):
        who = f"{row['consumers']} {row['they']}".strip()
        if "failure" in row:
            rows.append([who, str(row["record_bytes"]), row["failure"], "", ""])
            continue
        rows.append([who, str(row["record_bytes"]), spread(row["ring_ns"], one),
                     spread(row["memcpy_ns"], one), f"{row['ratio']['median']:.2f}"])
    return ("**The producer's CPU time per record**, ns\n\n" +
            table(["consumers", "bytes", "ring", "memcpy", "ratio"], rows))


def sections(document):
    how = document["settings"]
    return [about(document, f"of {how['seconds']:g} s, a window of {how['ring_mib']} MiB"),
            throughput(document), latency(document), producer_cpu(document)]
