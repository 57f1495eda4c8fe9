#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of quick runs twice: the same bytes, and every picture that
docs/BENCHMARKS.md shows is there.

Usage: plots_test.py FOLDER     with the <name>_bench.json that are there
"""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "../../docs")
sys.path.insert(0, HERE)
import plots  # noqa: E402  pylint: disable=wrong-import-position

# The one that Debian's matplotlib is for.
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def check(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def draw(folder, images, *options):
    """{name: bytes} of the pictures in the folder `images` afterwards."""
    done = subprocess.run([PYTHON, os.path.join(HERE, "plots.py"), folder, *options],
                          capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"plots.py ends with {done.returncode}: {done.stderr}")
    pictures = {}
    for name in os.listdir(images):
        if name.startswith("bench-"):
            with open(os.path.join(images, name), "rb") as file:
                pictures[name] = file.read()
    return pictures


def main():
    folder = sys.argv[1]
    if subprocess.run([PYTHON, "-c", "import matplotlib"], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        print("SKIP: no matplotlib (package python3-matplotlib)")
        return 77
    for name in plots.shown():
        check(os.path.exists(os.path.join(DOCS, "images", f"bench-{name}.svg")),
              f"the document shows {name}, and there is no such picture")
    for name in os.listdir(os.path.join(DOCS, "images")):
        if name.startswith("bench-"):
            check(name.removeprefix("bench-").removesuffix(".svg") in plots.shown(),
                  f"{name} is not shown by the document")
    first = draw(folder, folder)
    print(" ".join(sorted(first)) or "no figures, no plots")
    check(draw(folder, folder) == first, "the same figures give the same bytes")
    for name, picture in first.items():
        if name.endswith(".svg"):
            xml.etree.ElementTree.fromstring(picture)
    with tempfile.TemporaryDirectory() as images:
        for name, picture in draw(folder, images, "--document", images).items():
            check(picture == first[name], f"{name} in the document is another one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
