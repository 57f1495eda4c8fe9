# SPDX-License-Identifier: Apache-2.0
"""The plot of server_bench."""
import plot_style as style

SHOWN = (("1 consumer", "libebpf", style.BLUE),
         ("tcpdump", "tcpdump (packets only)", style.GRAY),
         ("bpftrace", "bpftrace (loses most)", style.ORANGE))
BAR = 0.26
LEAST_US = 0.1  # where the axis begins


def added(part, mode):
    """What a request costs more at the limited rate; None where that was not measured."""
    for row in part.get("rows", []):
        if row["load"] == "limited" and row["mode"] == mode and "added_us" in row:
            return row["added_us"]["median"]
    return None


def text(value):
    if value is None:
        return ""
    return f"{value:+.2f}" if abs(value) < 10 else f"{value:+,.0f}"


def added_cpu(document):
    """For each workload, what tracing adds to a request."""
    parts = document["workloads"]
    figure, axes = style.axes("CPU time that tracing adds to a request, server and tracer, at half "
                              "the machine", height=1.6 + 0.75 * len(parts))
    for number, (mode, label, color) in enumerate(SHOWN):
        values = [added(part, mode) for part in parts]
        places = [at + (number - 1) * BAR for at in range(len(parts))]
        bars = axes.barh(places, [max(value or 0, LEAST_US) for value in values], BAR * 0.9,
                         color=color, label=label)
        axes.bar_label(bars, [text(value) for value in values],
                       padding=3, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(left=LEAST_US)
    style.horizontal_bars(axes, [part["title"] for part in parts])
    style.plain_numbers(axes.xaxis)
    axes.set_xlabel("µs per request, logarithmic")
    style.legend_above(axes, 3)
    return figure


def plots(document):
    """{name: figure}"""
    return {"server-added": added_cpu(document)}
