#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of the benchmarks.

Usage: plots.py FOLDER                      bench-<plot>.svg and .png beside the JSON
       plots.py FOLDER --document IMAGES    those that the document shows, as SVG, into IMAGES

plots_<name>.py draws <name>_bench: plots(document) gives {plot: figure}. A plot of whose program
there is no JSON stays as it is.
"""
import importlib
import os
import re
import sys

import bench_json

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/BENCHMARKS.md")


def shown():
    """The plots that the document shows."""
    with open(DOCUMENT, encoding="utf-8") as file:
        return set(re.findall(r"images/bench-([a-z-]+)\.svg", file.read()))


def draw(folder, images, wanted):
    """Gives the paths of all files written."""
    import plot_style  # pylint: disable=import-outside-toplevel  matplotlib may be missing
    kinds = ("svg",) if wanted else ("svg", "png")
    paths = []
    for name, document in bench_json.load_all(folder).items():
        module = "plots_" + name.removesuffix("_bench")
        here = os.path.dirname(os.path.abspath(__file__))
        if not os.path.exists(os.path.join(here, f"{module}.py")):
            continue
        try:
            figures = importlib.import_module(module).plots(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise bench_json.BadDocument(
                f"{name}.json: not as its program writes it ({error!r})") from error
        for plot, figure in figures.items():
            if not wanted or plot in wanted:
                paths += plot_style.save(figure, images, f"bench-{plot}", kinds)
    return paths


def main():
    if len(sys.argv) not in (2, 4) or (len(sys.argv) == 4 and sys.argv[2] != "--document"):
        sys.exit("usage: plots.py FOLDER [--document IMAGES]")
    folder = sys.argv[1]
    images, wanted = (sys.argv[3], shown()) if len(sys.argv) == 4 else (folder, None)
    try:
        paths = draw(folder, images, wanted)
    except ModuleNotFoundError as error:
        sys.exit(f"plots: no {error.name} (package python3-matplotlib), so no plots")
    except (bench_json.BadDocument, OSError) as error:
        sys.exit(f"plots: {error}")
    print(f"plots: {len(paths)} pictures in {images}")


if __name__ == "__main__":
    main()
