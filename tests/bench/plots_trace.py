# SPDX-License-Identifier: Apache-2.0
"""The plot of trace_bench."""
import plot_style as style

OURS, FLOOR, OTHERS = style.BLUE, style.GRAY, style.ORANGE


def color(row):
    if "emitted" in row:
        return OURS
    return FLOOR if row["traced_by"].startswith("empty") else OTHERS


def pair_cost(document):
    """What each way to trace adds to a send and receive, beside the untraced pair."""
    rows = [row for row in document.get("cost", []) if "pair_added_ns" in row]
    base, *rows = rows
    values = [row["pair_added_ns"]["at_best"] for row in rows]
    figure, axes = style.axes(
        "Added to a 512-byte send and receive of "
        f"{base['pair_ns']['min']:,.0f} ns, CPU time of the traced thread",
        height=1.2 + 0.36 * len(rows))
    bars = axes.barh(range(len(rows)), values, 0.7, color=[color(row) for row in rows])
    axes.bar_label(bars, [f"{value:+,.0f}" for value in values], padding=4, fontsize=10)
    style.horizontal_bars(axes, [row["traced_by"] for row in rows])
    style.plain_numbers(axes.xaxis)
    axes.set_xlabel("ns per pair: gray empty programs, blue libebpf, orange other tools")
    return figure


def plots(document):
    """{name: figure}"""
    return {"trace-pair": pair_cost(document)}
