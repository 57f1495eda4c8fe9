# SPDX-License-Identifier: Apache-2.0
"""The plots of drain_bench."""
import plot_style as style

WORDS = {"ringbuf": "BPF ring buffers", "perf": "perf buffers"}
MODE_COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)


def latency(document):
    """From the end of a call to the callback, against the rate: median, and p99 dashed."""
    figure, axes = style.axes("From the end of a call to the callback of a consumer that sleeps")
    modes = list(dict.fromkeys(row["mode"] for row in document["latency"]))
    for mode, color in zip(modes, MODE_COLORS):
        rows = sorted((row for row in document["latency"] if row["mode"] == mode),
                      key=lambda row: row["per_s"])
        rates = [row["per_s"] for row in rows]
        style.curve(axes, rates, [row["p50_us"] for row in rows], f"{mode}, p50", color)
        style.curve(axes, rates, [row["p99_us"] for row in rows], f"{mode}, p99", color,
                    linestyle="--")
    axes.set_yscale("log")
    style.plain_numbers(axes.yaxis)
    axes.set_xscale("log")
    axes.set_xticks(sorted({row["per_s"] for row in document["latency"]}))
    style.plain_numbers(axes.xaxis)
    axes.set_xlabel("events/s")
    axes.set_ylabel("µs")
    style.legend_above(axes, 2 * len(modes) if len(modes) < 3 else len(modes))
    return figure


def rates(document):
    """What arrives when one thread makes as many events as it can."""
    rows = document["rates"]
    figure, axes = style.axes("Events/s through buffers and ring, flat out",
                              height=1.4 + 0.42 * len(rows))
    for offset, key, label, color in ((-0.2, "emitted_per_s", "emitted", style.GRAY),
                                      (0.2, "delivered_per_s", "delivered", style.BLUE)):
        values = [row[key]["median"] / 1000 for row in rows]
        bars = axes.barh([place + offset for place in range(len(rows))], values, 0.38,
                         color=color, label=label)
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=9)
    style.horizontal_bars(axes, [f"{WORDS.get(row['transport'], row['transport'])}, "
                                 f"{row['bytes']:,} bytes" for row in rows])
    style.plain_numbers(axes.xaxis)
    axes.set_xlabel("thousand events/s")
    style.legend_above(axes, 2)
    return figure


def plots(document):
    """{name: figure} of the parts that were measured."""
    known = {"latency": latency, "rates": rates}
    return {f"drain-{part}": draw(document) for part, draw in known.items() if part in document}
