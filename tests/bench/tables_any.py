# SPDX-License-Identifier: Apache-2.0
"""Tables of a benchmark that has none of its own making: one for each list of rows."""
from markdown import about, number, spread, table


def cell(value):
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, dict) and {"median", "min", "max"} <= value.keys():
        return spread(value)
    return value if isinstance(value, str) else ""


def rows_table(title, rows):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return (f"**{title.replace('_', ' ')}**\n\n" +
            table([key.replace("_", " ") for key in columns],
                  [[cell(row.get(key)) for key in columns] for row in rows]))


def sections(document):
    parts = [rows_table(name, rows) for name, rows in document.items()
             if name != "figures" and isinstance(rows, list)
             and rows and all(isinstance(row, dict) for row in rows)]
    return [about(document)] + parts
