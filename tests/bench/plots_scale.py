# SPDX-License-Identifier: Apache-2.0
"""The curves of scale_bench."""
import plot_style as style


def consumers(document):
    rows = document["consumers"]
    figure, axes = style.axes("20,000 records/s to so many consumers", height=3.8)
    counts = [row["consumers"] for row in rows]
    style.curve(axes, counts, [row["pair_added_ns"] for row in rows],
                "added to a send and receive", style.BLUE)
    style.curve(axes, counts, [row["drain_ns"] for row in rows],
                "drain thread, per record", style.ORANGE)
    axes.set_xticks(counts)
    axes.set_ylim(bottom=0)
    style.plain_numbers(axes.yaxis)
    axes.set_xlabel("consumers")
    axes.set_ylabel("ns of CPU time")
    style.legend_above(axes, 2)
    return figure


def sockets(document):
    rows = document["sockets"]
    figure, (cost, idle) = style.axes("Open sockets that the tracer knows", columns=2)
    counts = [row["sockets"] for row in rows]
    for pick, color in (("one", style.BLUE), ("random", style.ORANGE)):
        words = "one socket" if pick == "one" else "at random"
        style.curve(cost, counts, [row[f"{pick}_added_ns"] for row in rows], f"{words}, added",
                    color)
        style.curve(cost, counts, [row[f"{pick}_untraced_ns"] for row in rows],
                    f"{words}, untraced", color, linestyle="--")
    cost.set_ylim(bottom=0)
    cost.set_ylabel("ns per send and receive")
    style.plain_numbers(cost.yaxis)
    style.legend_above(cost, 2)
    for key, label, color in (("control", "control thread", style.PURPLE),
                              ("drain", "drain thread", style.GREEN)):
        idle.plot(counts, [row[f"idle_{key}_percent"] for row in rows], marker="o", label=label,
                  color=color)
    idle.set_ylabel("idle producer, % of a CPU")
    idle.set_ylim(bottom=0)
    style.legend_above(idle, 1)
    for axes in (cost, idle):
        axes.set_xscale("log")
        # 100k and 500k have no room beside each other.
        marked = [count for count in counts if count != 100_000 or count == max(counts)]
        axes.set_xticks(marked, [f"{count // 1000}k" if count >= 1000 else str(count)
                                 for count in marked])
        axes.minorticks_off()
        axes.set_xlabel("sockets")
    return figure


def threads(document):
    rows = document["threads"]
    figure, axes = style.axes("80,000 records/s from so many threads", height=3.8)
    counts = [row["threads"] for row in rows]
    style.curve(axes, counts, [row["untraced_ns"] for row in rows], "a pair, untraced", style.GRAY)
    style.curve(axes, counts, [row["pair_added_ns"] for row in rows], "added", style.BLUE)
    style.curve(axes, counts, [row["drain_ns"] for row in rows], "drain thread, per record",
                style.ORANGE)
    style.counts(axes, counts, logarithmic=True)
    axes.set_ylim(bottom=0)
    style.plain_numbers(axes.yaxis)
    axes.set_xlabel("threads")
    axes.set_ylabel("ns of CPU time")
    style.legend_above(axes, 3)
    return figure


def buffers(document):
    figure, axes = style.axes("A burst into buffers of so many pages for each CPU", height=3.6)
    for transport, words, color in (("ringbuf", "BPF ring buffers", style.BLUE),
                                    ("perf", "perf buffers", style.ORANGE)):
        rows = [row for row in document["buffers"] if row["transport"] == transport]
        style.curve(axes, [row["pages"] for row in rows], [row["lost_percent"] for row in rows],
                    words, color)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({row["pages"] for row in document["buffers"]}))
    style.plain_numbers(axes.xaxis)
    axes.set_xlabel("--perf-pages")
    axes.set_ylabel("% lost")
    style.legend_above(axes, 2)
    return figure


def memory(document):
    rows = [row for row in document["memory"] if "failure" not in row]
    figure, axes = style.axes("Memory of the producer by option, MiB", height=1.2 + 0.3 * len(rows))
    left = [0.0] * len(rows)
    for key, words, color in (("memfd_bytes", "ring", style.BLUE),
                              ("buffer_bytes", "buffers of the CPUs", style.ORANGE),
                              ("map_bytes", "BPF maps", style.GREEN)):
        values = [row[key] / 2**20 for row in rows]
        axes.barh(range(len(rows)), values, 0.7, left=left, color=color, label=words)
        left = [a + b for a, b in zip(left, values)]
    for place, total in enumerate(left):
        axes.annotate(f"{total:,.0f}", (total, place), xytext=(4, 0), va="center", fontsize=9,
                      textcoords="offset points")
    style.horizontal_bars(axes, [row["options"] for row in rows])
    style.plain_numbers(axes.xaxis)
    style.legend_above(axes, 3)
    return figure


def plots(document):
    """{name: figure} of the parts that were measured."""
    known = {"consumers": consumers, "sockets": sockets, "threads": threads, "buffers": buffers,
             "memory": memory}
    return {f"scale-{part}": draw(document) for part, draw in known.items() if part in document}
