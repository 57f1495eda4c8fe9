# SPDX-License-Identifier: Apache-2.0
"""The tables of trace_bench."""
from markdown import about, table

WORK = {"pair": "send and receive", "write_null": "/dev/null", "write_file": "file",
        "getuid": "getuid"}


def works(rows):
    """The system calls that were measured: those known first, in their order."""
    there = {key.removesuffix("_added_ns") for row in rows for key in row
             if key.endswith("_added_ns")}
    return [key for key in WORK if key in there] + sorted(there - WORK.keys())


def cell(row, work):
    added = row.get(f"{work}_added_ns")
    if added is None:
        return ""
    return f"{added['at_best']:+,.0f} ({added['median']:+,.0f})"


def cost(document):
    """The first row is untraced, and the measure of all others."""
    base, *others = document.get("cost", [{}])
    columns = works(document.get("cost", []))
    rows = [[base.get("traced_by", "untraced") + ", absolute"] +
            [f"{base[f'{work}_ns']['min']:,.0f}" if f"{work}_ns" in base else ""
             for work in columns] + ["", ""]]
    missing = []
    for row in others:
        if "failure" in row:
            missing.append(f"{row['traced_by']}: {row['failure']}")
            continue
        emitted, lost = row.get("emitted"), row.get("lost", 0)
        rows.append([row["traced_by"]] + [cell(row, work) for work in columns] +
                    [f"{row['producer_ns']:,.0f}" if "producer_ns" in row else "",
                     f"{lost:,} of {emitted:,}" if emitted else ""])
    head = [""] + [f"{WORK.get(work, work)}, added" for work in columns]
    text = ("**CPU time of the traced thread per call**, ns, at best (median of the differences)"
            "\n\n" + table(head + ["producer, per event", "lost"], rows))
    if missing:
        text += "\n\nNot measured: " + "; ".join(missing) + "."
    return text


def sections(document):
    return [about(document), cost(document)]
