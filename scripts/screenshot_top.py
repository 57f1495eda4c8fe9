#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws docs/images/top.svg: `ebpfctl top` in a real terminal of 80 × 24, while nginx answers curl and
redis-benchmark runs.

    sudo python3 scripts/screenshot_top.py [OUT]     (after a build)
"""

import html
import os
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/e2e"))

import lib  # noqa: E402
import servers  # noqa: E402
from terminal import Terminal  # noqa: E402

COLUMN, LINE, MARGIN = 8.4, 18, 12
LOOKS = 6  # so many seconds before the picture is taken


def runs_of(row, columns):
    """(first column, text, bold, reverse) for each run of cells that look the same."""
    first = 0
    while first < columns:
        cell = row[first]
        last = first
        while last < columns and (row[last].bold, row[last].reverse) == (cell.bold, cell.reverse):
            last += 1
        yield first, "".join(row[at].data for at in range(first, last)), cell.bold, cell.reverse
        first = last


def draw(screen):
    width, height = screen.columns * COLUMN + 2 * MARGIN, screen.lines * LINE + 2 * MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
           f'width="{width:.0f}" height="{height:.0f}" font-family="monospace" font-size="14">',
           f'<rect width="{width:.0f}" height="{height:.0f}" rx="6" fill="#16181d"/>']
    for line in range(screen.lines):
        y = MARGIN + line * LINE
        for first, text, bold, reverse in runs_of(screen.buffer[line], screen.columns):
            x = MARGIN + first * COLUMN
            if reverse:
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{len(text) * COLUMN:.1f}" '
                           f'height="{LINE}" fill="#d8dadf"/>')
            if not text.strip():
                continue
            color = "#16181d" if reverse else "#d8dadf"
            weight = ' font-weight="bold"' if bold else ""
            out.append(f'<text x="{x:.1f}" y="{y + 13}" textLength="{len(text) * COLUMN:.1f}" '
                       f'xml:space="preserve" fill="{color}"{weight}>{html.escape(text)}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    lib.check(os.geteuid() == 0, "this needs root")
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs/images/top.svg")
    bench = lib.Bench(tempfile.mkdtemp(prefix="libebpf-screenshot-"))
    lib.mount_tracefs()
    try:
        bench.producer("--allow-names", "nginx,curl,redis-server,redis-benchmark")
        bench.agent()
        _, port = bench.nginx()
        curl = lib.foreign("curl")
        bench.start("load", ["sh", "-c", f"while :; do {curl} -sS --noproxy '*' -o /dev/null "
                             f"'http://127.0.0.1:{port}/[1-200]'; done"])
        redis_port = lib.free_port()
        server = bench.start("redis", [
            lib.foreign("redis-server"), "--bind", servers.HOST, "--port", str(redis_port),
            "--save", "", "--dir", bench.folder])
        servers.wait_listening(server, redis_port)
        bench.start("benchmark", [lib.foreign("redis-benchmark"), "-h", servers.HOST, "-p",
                                  str(redis_port), "-q", "-l", "-c", "3", "-t", "get,set"])
        terminal = Terminal([lib.program("ebpfctl"), "--socket", bench.socket, "top"])
        terminal.wait_for(lambda text: "Redis" in text and "HTTP" in text, "both protocols")
        deadline = time.monotonic() + LOOKS
        while time.monotonic() < deadline:
            terminal.take_in()
        picture = draw(terminal.screen)
        terminal.close()
        with open(out, "w", encoding="utf-8") as file:
            file.write(picture)
        print(f"wrote {out}")
    finally:
        bench.end()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
