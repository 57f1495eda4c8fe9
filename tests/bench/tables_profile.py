# SPDX-License-Identifier: Apache-2.0
"""The tables of profile_bench."""
from markdown import about, table


def part(title, rows):
    whole = sum(row["instructions"] for row in rows)
    lines = [[f"`{row['function']}`" if row["function"] != "all others" else "all others",
              f"{row['instructions']:,.1f}", f"{row['share_percent']:.0f} %"] for row in rows]
    return (f"**{title[:1].upper()}{title[1:]}**, {whole:,.0f} instructions per event\n\n" +
            table(["", "instructions", "share"], lines))


def bpf_calls(rows):
    """A row for each call, a column for each back end."""
    ends = list(dict.fromkeys(row["back_end"] for row in rows))
    calls = list(dict.fromkeys(row["call"] for row in rows))
    counts = {(row["call"], row["back_end"]):
              f"{row['instructions']:,} / {row['helper_calls']}" for row in rows}
    return ("**The BPF programs**, instructions / calls of helpers for each system call\n\n" +
            table([""] + ends, [[call] + [counts.get((call, end), "") for end in ends]
                                for call in calls]))


def sections(document):
    return ([about(document)] + [part(*each) for each in document["profile"].items()] +
            [bpf_calls(document["bpf_calls"])])
