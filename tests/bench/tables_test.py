#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the figures of quick runs to the tables of docs/BENCHMARKS.md; and what a wrong file says.

Usage: tables_test.py FOLDER     with the <name>_bench.json that are there
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
DOCUMENT = os.path.join(HERE, "../../docs/BENCHMARKS.md")
FOLDER = sys.argv.pop(1)
sys.path.insert(0, HERE)
import bench_json  # noqa: E402  pylint: disable=wrong-import-position
import tables  # noqa: E402  pylint: disable=wrong-import-position
import tables_any  # noqa: E402  pylint: disable=wrong-import-position

SAMPLE = {"schema_version": 1, "bench": "drain_bench", "machine": {"cpu": "One", "cpus": 2},
          "settings": {"rounds": 3},
          "figures": [{"figure": "idle", "at_most": 0.3, "unit": "%", "reached": 0.25, "met": True},
                      {"figure": "rate", "at_least": 500000, "unit": "events/s"}],
          "rows": [{"bytes": 640, "rate": {"median": 2.5, "min": 2, "max": 1000}}]}


def tables_program(*arguments):
    return subprocess.run([sys.executable, os.path.join(HERE, "tables.py"), *arguments],
                          capture_output=True, text=True, check=False)


class Tables(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="libebpf-tables-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.document = os.path.join(self.folder, "BENCHMARKS.md")
        shutil.copy(DOCUMENT, self.document)

    def write(self, text, name="drain_bench"):
        with open(os.path.join(self.folder, f"{name}.json"), "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else json.dumps(text))

    def read(self):
        with open(self.document, encoding="utf-8") as file:
            return file.read()

    def test_the_quick_runs_fill_the_document(self):
        found = bench_json.load_all(FOLDER)
        print(f"figures of: {' '.join(found) or 'none'}")
        for name in found:
            shutil.copy(os.path.join(FOLDER, f"{name}.json"), self.folder)
        for turn in range(2):  # the second one finds what the first one wrote
            done = tables_program(self.folder, self.document)
            self.assertEqual(done.returncode, 0, done.stderr)
            text = self.read()
            for name, document in found.items():
                self.assertIn(tables.bench_part(name, document), text)
                for row in document["figures"]:
                    self.assertIn(f"| {row['figure']} |", text)
            if turn == 0:
                first = text
        self.assertEqual(text, first)

    def test_what_has_no_figures_stays_and_is_named(self):
        before = self.read()
        done = tables_program(self.folder, self.document)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in bench_json.BENCHES:
            self.assertIn(f"no {self.folder}/{name}.json", done.stdout)
            self.assertEqual(tables.part_of(before, name, "")[1],
                             tables.part_of(self.read(), name, "")[1])

    def test_figures_of_other_programs_stay_in_the_table_of_all(self):
        self.write(SAMPLE)
        documents = bench_json.load_all(self.folder)
        old = tables.figures_part({"ring_bench": {"figures": [
            {"figure": "latency", "at_most": 300, "unit": "ns", "reached": 301, "met": False}]}}, "")
        text = tables.figures_part(documents, old)
        self.assertIn("| latency | ≤ 300 ns | 301 | **not reached** | `ring_bench` |", text)
        self.assertIn("| idle | ≤ 0.3 % | 0.25 | reached | `drain_bench` |", text)
        self.assertIn("| rate | ≥ 500,000 events/s | – | not measured | `drain_bench` |", text)

    def test_rows_without_tables_of_their_own_are_shown(self):
        text = "\n".join(tables_any.sections(SAMPLE))
        self.assertIn("| 640 | 2.5 (2–1,000) |", text)

    def test_a_wrong_file_gives_one_line(self):
        wrong = {"truncated": '{"schema_version": 1,', "list": "[]",
                 "other version": {**SAMPLE, "schema_version": 2},
                 "other program": {**SAMPLE, "bench": "ring_bench"},
                 "no figures": {**SAMPLE, "figures": None},
                 "figure without bound": {**SAMPLE, "figures": [{"figure": "x", "unit": "ns"}]}}
        for what, text in wrong.items():
            with self.subTest(what):
                self.write(text)
                before = self.read()
                done = tables_program(self.folder, self.document)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"\Atables: .*drain_bench\.json: .+\n\Z")
                self.assertEqual(self.read(), before)

    def test_rows_of_another_form_give_one_line(self):
        self.write({**SAMPLE, "bench": "trace_bench", "cost": [{"traced_by": 1}, {"lost": 0}]},
                   "trace_bench")
        done = tables_program(self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Atables: trace_bench\.json: .+\n\Z")

    def test_a_document_without_marks_is_refused(self):
        with open(self.document, "w", encoding="utf-8") as file:
            file.write("# Benchmarks\n<!-- figures: begin --><!-- figures: end -->\n")
        done = tables_program(self.folder, self.document)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Atables: .*<!-- ring_bench: begin -->.*\n\Z")


if __name__ == "__main__":
    unittest.main()
