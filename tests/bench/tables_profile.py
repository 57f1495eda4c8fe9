# SPDX-License-Identifier: Apache-2.0
"""The tables of profile_bench."""
from markdown import about, table


def part(title, rows):
    whole = sum(row["instructions"] for row in rows)
    lines = [[f"`{row['function']}`" if row["function"] != "all others" else "all others",
              f"{row['instructions']:,.1f}", f"{row['share_percent']:.0f} %"] for row in rows]
    return (f"**{title[:1].upper()}{title[1:]}**, {whole:,.0f} instructions per event\n\n" +
            table(["", "instructions", "share"], lines))


def sections(document):
    return [about(document)] + [part(*each) for each in document["profile"].items()]
