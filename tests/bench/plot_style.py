# SPDX-License-Identifier: Apache-2.0
"""How all plots look: readable at a width of 800 pixels, on light and on dark backgrounds; and the
same bytes for the same figures."""
import os

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  pylint: disable=wrong-import-position

# Of middle brightness, since the background may be either.
TEXT, GRID = "#76808c", "#76808c"
BLUE, ORANGE, GREEN, PURPLE, RED, GRAY = ("#3b82f6", "#e8762b", "#2da44e", "#9a6dd7", "#e5534b",
                                          "#8b949e")
COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, GRAY)
WIDTH_IN, DPI = 8, 100

matplotlib.rcParams.update({
    "svg.hashsalt": "libebpf", "svg.fonttype": "none", "font.family": "DejaVu Sans",
    "font.size": 11, "figure.dpi": DPI, "savefig.dpi": DPI, "savefig.transparent": True,
    "text.color": TEXT, "axes.labelcolor": TEXT, "axes.edgecolor": GRID, "axes.titlecolor": TEXT,
    "axes.titlesize": 13, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.alpha": 0.25,
    "xtick.color": TEXT, "ytick.color": TEXT, "legend.frameon": False,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS), "lines.linewidth": 2,
    "lines.markersize": 5})


def axes(title, height=4.2, columns=1, **options):
    """A figure with one row of axes."""
    figure, places = pyplot.subplots(1, columns, figsize=(WIDTH_IN, height), **options)
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, color=TEXT)
    return figure, places


def legend_above(axes_, columns):
    """Between title and axes, where no curve runs."""
    axes_.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncol=columns, fontsize=10,
                 columnspacing=1.4, handlelength=1.4)


def horizontal_bars(axes_, names):
    """Rows from top to bottom, with lines at the values only."""
    axes_.set_yticks(range(len(names)), names)
    axes_.tick_params(axis="y", length=0)
    axes_.invert_yaxis()
    axes_.grid(axis="y", visible=False)
    axes_.margins(x=0.12)


def plain_numbers(axis):
    """1,000 and not 10³."""
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(
        lambda value, _: f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def counts(axes_, values, logarithmic=False):
    """An x axis on which exactly these counts are marked."""
    if logarithmic:
        axes_.set_xscale("log", base=2 if max(values) <= 1024 else 10)
    axes_.set_xticks(values)
    plain_numbers(axes_.xaxis)


def curve(axes_, xs, spreads, label, color, scale=1.0, **style):
    """Medians as a line, least and most of the rounds as a band."""
    axes_.plot(xs, [s["median"] * scale for s in spreads], marker="o", label=label, color=color,
               **style)
    axes_.fill_between(xs, [s["min"] * scale for s in spreads], [s["max"] * scale for s in spreads],
                       color=color, alpha=0.15, linewidth=0)


def save(figure, folder, name, kinds):
    """One file for each kind; gives their paths."""
    figure.tight_layout()
    paths = []
    for kind in kinds:
        path = os.path.join(folder, f"{name}.{kind}")
        figure.savefig(path, metadata={"Date": None} if kind == "svg" else {"Software": None})
        paths.append(path)
    pyplot.close(figure)
    return paths
