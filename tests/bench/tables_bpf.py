# SPDX-License-Identifier: Apache-2.0
"""The tables of bpf_bench."""
from markdown import about, table


def run_time(document):
    """A row for each program of a back end, a column for each call."""
    rows = document["run_time"]
    calls = list(dict.fromkeys(row["call"] for row in rows))
    ends = list(dict.fromkeys(row["back_end"] for row in rows))
    lines = []
    for end in ends:
        own = [row for row in rows if row["back_end"] == end]
        ns = {(row["program"], row["call"]): row["ns"] for row in own}
        whole = {row["call"]: row["until_here_ns"] for row in own if row["is_last"]}
        # The order of a path, whichever call takes it.
        order = ("enter3", "enter4", "enter6", "exit", "gather", "classify", "classify_more", "emit")
        for program in order:
            if any(name == program for name, _ in ns):
                lines.append([f"{end}: {program}"] + [
                    f"{ns[program, call]:,.0f}" if (program, call) in ns else "" for call in calls])
        lines.append([f"**{end}, in all**"] + [
            f"**{whole[call]:,.0f}**" if call in whole else "" for call in calls])
    return ("**BPF run time per program**, ns, the best of all rounds\n\n" +
            table([""] + calls, lines))


def yardstick(document):
    return (f"An empty program takes {document['empty_ns']['min']:,.0f} ns as the kernel counts, which is taken off "
            f"everywhere; the reference program takes {document['reference_ns']['min']:,.0f} ns.")


def sections(document):
    parts = [about(document), yardstick(document), run_time(document)]
    missing = document.get("not_measured")
    return parts + (["Not measured: " + "; ".join(missing) + "."] if missing else [])
