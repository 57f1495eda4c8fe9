# SPDX-License-Identifier: Apache-2.0
"""The plots of ring_bench."""
import plot_style as style


def throughput(document):
    """Lossless records/s of each transport against the number of readers."""
    curves = {}
    for row in document.get("throughput", []):
        if row["mode"] == "lossless" and row["record_bytes"] == 672 and "failure" not in row:
            curves.setdefault(row["transport"], []).append(
                (row["consumers"], row["delivered_per_s_slowest"]))
    figure, axes = style.axes("672-byte records to each of so many readers, nobody loses any")
    colors = dict(zip(("ring", "iceoryx", "message_queue", "pipe", "seqpacket", "bare memory"),
                      style.COLORS))
    for name, points in curves.items():
        points.sort(key=lambda point: point[0])
        style.curve(axes, [count for count, _ in points], [value for _, value in points], name,
                    colors.get(name), 1e-6,
                    linestyle="--" if name == "bare memory" else "-")
    axes.set_yscale("log")
    style.plain_numbers(axes.yaxis)
    style.counts(axes, sorted({count for points in curves.values() for count, _ in points}), True)
    axes.set_xlabel("readers")
    axes.set_ylabel("million records/s")
    style.legend_above(axes, 6)
    return figure


def latency(document):
    """One-way latency, median and p99, of an awake reader."""
    rows = [row for row in document.get("latency", [])
            if row["reader"] == "awake" and "failure" not in row]
    figure, axes = style.axes("One-way latency to an awake reader", height=3.6)
    for offset, key, label, color in ((-0.2, "p50_ns", "p50", style.BLUE),
                                      (0.2, "p99_ns", "p99", style.ORANGE)):
        bars = axes.barh([place + offset for place in range(len(rows))],
                         [row[key]["median"] for row in rows], 0.38, label=label, color=color)
        axes.bar_label(bars, [f"{row[key]['median']:,.0f}" for row in rows], padding=3, fontsize=9)
    style.horizontal_bars(axes, [row["transport"] for row in rows])
    axes.set_xscale("log")
    style.plain_numbers(axes.xaxis)
    axes.set_xlabel("ns")
    style.legend_above(axes, 2)
    return figure


def plots(document):
    """{name: figure}"""
    return {"ring-throughput": throughput(document), "ring-latency": latency(document)}
