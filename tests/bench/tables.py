#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the JSON of the benchmarks into the Markdown tables of docs/BENCHMARKS.md.

Usage: tables.py FOLDER             prints the tables of all FOLDER/<name>_bench.json
       tables.py --figures FOLDER  prints the figures to reach, for a terminal
       tables.py FOLDER DOCUMENT    renews the document's parts between their marks,
                                    <!-- <name>_bench: begin --> … <!-- <name>_bench: end -->

tables_<name>.py has the tables of <name>_bench: sections(document) gives a list of texts. Without
one, each list of rows in the JSON becomes a table. A part of whose program there is no JSON stays
as it is.
"""
import importlib
import os
import sys

import bench_json
from markdown import number, table

FIGURES = "figures"  # the part with all figures to reach


def verdict(row):
    return {True: "reached", False: "**not reached**"}.get(row.get("met"), "not measured")


def figure_rows(name, document):
    rows = []
    for row in document["figures"]:
        bound = (f"≤ {number(row['at_most'])}" if "at_most" in row
                 else f"≥ {number(row['at_least'])}")
        rows.append([row["figure"], f"{bound} {row['unit']}",
                     number(row["reached"]) if row.get("reached") is not None else "–",
                     verdict(row), f"`{name}`"])
    return rows


def known_rows(text):
    """{program: rows} of a table of figures that an earlier run left."""
    known = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if len(cells) == 5 and cells[-1].startswith("`"):
            known.setdefault(cells[-1].strip("`"), []).append(cells)
    return known


def figures_part(documents, before):
    """All figures to reach; those of a program without JSON as they were."""
    known = known_rows(before)
    rows = []
    for name in bench_json.BENCHES:
        rows += figure_rows(name, documents[name]) if name in documents else known.get(name, [])
    return table(["", "wanted", "measured", "", "by"], rows)


def print_figures(documents):
    """For a terminal."""
    for name, document in documents.items():
        for title, bound, reached, met, _ in figure_rows(name, document):
            print(f"{name:13}{title:66}{bound:>14}{reached:>10}  {met.strip('*')}")


def tables_of(name):
    module = "tables_" + name.removesuffix("_bench")
    there = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{module}.py"))
    return importlib.import_module(module if there else "tables_any")


def bench_part(name, document):
    tables = tables_of(name)
    try:
        return "\n\n".join(tables.sections(document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise bench_json.BadDocument(
            f"{name}.json: not as its program writes it ({error!r})") from error


def marks(name):
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def part_of(text, name, path):
    """What stands before, between and after a part's marks."""
    begin, end = marks(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise bench_json.BadDocument(f"{path}: {begin} … {end} must stand there once")
    before, _, rest = text.partition(begin)
    between, _, after = rest.partition(end)
    return before + begin, between, end + after


def renew(text, documents, path):
    """The document with all its parts as the figures have them; and what had to stay."""
    stays = [name for name in bench_json.BENCHES if name not in documents]
    for name in (FIGURES, *bench_json.BENCHES):
        before, between, after = part_of(text, name, path)
        if name in stays:
            continue
        part = (figures_part(documents, between) if name == FIGURES
                else bench_part(name, documents[name]))
        text = f"{before}\n\n{part}\n\n{after}"
    return text, stays


def run(folder, path=None):
    documents = bench_json.load_all(folder)
    if path is None:
        print(figures_part(documents, ""))
        for name, document in documents.items():
            print(f"\n## {name}\n\n{bench_part(name, document)}")
        return
    with open(path, encoding="utf-8") as file:
        text, stays = renew(file.read(), documents, path)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
    for name in stays:
        print(f"tables: no {folder}/{name}.json; its part of {path} stays as it is")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: tables.py [--figures] FOLDER | FOLDER DOCUMENT")
    try:
        if sys.argv[1] == "--figures":
            print_figures(bench_json.load_all(sys.argv[2]))
        else:
            run(*sys.argv[1:])
    except (bench_json.BadDocument, OSError) as error:
        sys.exit(f"tables: {error}")


if __name__ == "__main__":
    main()
