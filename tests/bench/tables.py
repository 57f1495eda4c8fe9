#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the JSON of ring_bench into the Markdown tables of docs/BENCHMARKS.md.

Usage: tables.py JSON             prints the tables
       tables.py JSON DOCUMENT    puts them between the document's two ring_bench marks
"""
import json
import sys

BEGIN = "<!-- ring_bench: begin -->"
END = "<!-- ring_bench: end -->"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |",
             "|" + "|".join(" :-- " if i == 0 else " --: " for i in range(len(head))) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def millions(per_s):
    return f"{per_s / 1e6:.2f}"


def spread(values, form=millions):
    return f"{form(values['median'])} ({form(values['min'])}–{form(values['max'])})"


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
                                spread(row["delivered_per_s_slowest"]),
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


def figures(document):
    rows = []
    for row in document["figures"]:
        bound = f"≤ {row['at_most']:g}" if "at_most" in row else f"≥ {row['at_least']:g}"
        reached = f"{row['reached']:.3g}" if "reached" in row else "–"
        verdict = {True: "reached", False: "**not reached**"}.get(row.get("met"), "not measured")
        rows.append([row["figure"], f"{bound} {row['unit']}", reached, verdict])
    return "**The figures to reach**\n\n" + table(["", "wanted", "measured", ""], rows)


def machine(document):
    about, how = document["machine"], document["settings"]
    return (f"Machine: {about['cpu']}, {about['cpus']} CPUs, {about['kernel']}, "
            f"{about['compiler']}; load average before the run {about['load_before']:.1f}. "
            f"{how['rounds']} rounds of {how['seconds']:g} s, a window of {how['ring_mib']} MiB.")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    parts = [machine, figures, throughput, latency, producer_cpu]
    text = "\n\n".join(part(document) for part in parts)
    if len(sys.argv) < 3:
        print(text)
        return
    with open(sys.argv[2], encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    if END not in rest:
        sys.exit(f"tables: {sys.argv[2]} has no {BEGIN} … {END}")
    after = rest.partition(END)[2]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
