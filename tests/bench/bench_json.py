# SPDX-License-Identifier: Apache-2.0
"""The figures that the benchmarks write: <name>.json, one for each program. What those in Python
write, and what tables.py and plots.py read."""
import glob
import json
import os
import platform
import statistics

# In the order of the document.
BENCHES = ("ring_bench", "trace_bench", "bpf_bench", "drain_bench", "server_bench", "scale_bench",
           "profile_bench")
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


def describe_machine():
    """As report.cpp does for the programs in C++."""
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(": ", 1)[1].strip()
                break
    return {"cpu": model, "cpus": os.cpu_count(),
            "kernel": f"{platform.system()} {platform.release()}",
            "load_before": round(os.getloadavg()[0], 2)}


def begin_document(bench, versions, settings):
    """What every program's document begins with. Call it before anything runs, for the load."""
    return {"schema_version": SCHEMA_VERSION, "bench": bench, "machine": describe_machine(),
            "versions": versions, "settings": settings}


def spread(values):
    """The form in which the values of all rounds are kept."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "each": list(values)}


def figure(name, unit, reached, at_most=None, at_least=None):
    """A figure to reach; `reached` is None where it was not measured."""
    bound = {"at_most": at_most} if at_most is not None else {"at_least": at_least}
    row = {"figure": name, "unit": unit, **bound}
    if reached is not None:
        row["reached"] = reached
        row["met"] = reached <= at_most if at_most is not None else reached >= at_least
    return row


def write(document, path):
    """Whole or not at all."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    os.replace(f"{path}.new", path)
