# SPDX-License-Identifier: Apache-2.0
"""Markdown tables, and how figures are written in them."""


def table(head, rows):
    """The first column to the left, all others to the right."""
    lines = ["| " + " | ".join(head) + " |",
             "|" + "|".join(" :-- " if i == 0 else " --: " for i in range(len(head))) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def number(value):
    """Three digits that mean something, and thousands apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def millions(per_s):
    return f"{per_s / 1e6:.2f}"


def spread(values, form=number):
    """The median, with the least and the most of all rounds."""
    return f"{form(values['median'])} ({form(values['min'])}–{form(values['max'])})"


def about(document, how=""):
    """On what it was measured, and how."""
    machine, versions = document["machine"], document.get("versions", {})
    parts = [f"{machine.get('cpu', 'an unknown CPU')}, {machine.get('cpus', '?')} CPUs",
             machine.get("kernel", "an unknown kernel")]
    parts += [machine[key] for key in ("compiler",) if key in machine]
    parts += [f"{name} {version}" for name, version in versions.items()]
    load = machine.get("load_before")
    text = f"Machine: {', '.join(parts)}"
    if load is not None:
        text += f"; load average before the run {load:.1f}"
    rounds = document["settings"].get("rounds")
    if rounds:
        how = f"{rounds} rounds" + (f" {how}" if how else "")
    return f"{text}. {how[:1].upper()}{how[1:]}." if how else f"{text}."
