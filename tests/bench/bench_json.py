# SPDX-License-Identifier: Apache-2.0
"""The figures that the benchmarks write: <name>.json, one for each program. What tables.py and
plots.py share."""
import glob
import json
import os

# In the order of the document.
BENCHES = ("ring_bench", "trace_bench", "drain_bench", "server_bench", "scale_bench")
SCHEMA_VERSION = 1


class BadDocument(Exception):
    """A file that is not what a benchmark writes; the text is one line for people."""


def _check(document, path):
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise BadDocument(f"{path}: schema_version {SCHEMA_VERSION} is wanted")
    name = os.path.basename(path).removesuffix(".json")
    if document.get("bench") != name:
        raise BadDocument(f"{path}: holds figures of {document.get('bench')!r}, not of {name}")
    for part, kind in (("machine", dict), ("settings", dict), ("figures", list)):
        if not isinstance(document.get(part), kind):
            raise BadDocument(f"{path}: has no '{part}'")
    for row in document["figures"]:
        bounded = isinstance(row, dict) and isinstance(row.get("at_most", row.get("at_least")),
                                                       (int, float))
        if not (bounded and "figure" in row and "unit" in row):
            raise BadDocument(f"{path}: {row!r} is no figure with a bound")


def load(path):
    """One document, checked as far as all programs have it in common."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise BadDocument(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BadDocument(f"{path}: is no JSON ({error})") from None
    _check(document, path)
    return document


def load_all(folder):
    """{name: document} of those that are there, in the document's order."""
    there = {os.path.basename(path) for path in glob.glob(os.path.join(folder, "*_bench.json"))}
    return {name: load(os.path.join(folder, f"{name}.json"))
            for name in BENCHES if f"{name}.json" in there}
