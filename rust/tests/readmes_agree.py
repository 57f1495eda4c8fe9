# SPDX-License-Identifier: Apache-2.0
"""The README in English and the one in Chinese: the same sections, names and programs.

    readmes_agree.py README OTHER
"""

import re
import sys

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def facts(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    programs = [re.sub(r"//.*|\"[^\"]*\"|\s+", "", block) for block in FENCE.findall(text)]
    prose = FENCE.sub("", text)
    return {"headings": [line.count("#") for line in prose.splitlines() if line.startswith("#")],
            "table rows": sum(line.startswith("|") for line in prose.splitlines()),
            "names": sorted(set(re.findall(r"`([^`]+)`", prose))),
            "programs": programs}


def main(readme, other):
    first, second = facts(readme), facts(other)
    for what, wanted in first.items():
        if second[what] != wanted:
            sys.exit(f"{what}: {readme} has {wanted}, {other} {second[what]}")


main(*sys.argv[1:])
