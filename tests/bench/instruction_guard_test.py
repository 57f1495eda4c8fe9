#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the guards of instructions and of run time let pass, and what they name."""
import os
import tempfile
import unittest

import bpf_time_guard as time_guard
import instruction_guard as guard

KNOWN = {"instructions": 100, "tail_calls": 1, "helpers": {"ktime_get_ns": 1}}


def counted(**changes):
    return {**KNOWN, **changes}


class Guard(unittest.TestCase):
    def test_a_tenth_more_passes_and_what_is_above_it_does_not(self):
        self.assertEqual(guard.compare("work", 110, 100), [])
        self.assertEqual(guard.compare("work", 50, 100), [])
        self.assertEqual(guard.compare("work", 111, 100),
                         ["work: 111 instructions instead of 100 (+11.0%)"])

    def test_one_more_call_fails_whatever_else_became_less(self):
        same = guard.compare_bpf("work", counted(), KNOWN)
        self.assertEqual(same, [])
        more = counted(instructions=50, helpers={"ktime_get_ns": 2})
        self.assertEqual(guard.compare_bpf("work", more, KNOWN),
                         ["work: 2 calls of ktime_get_ns instead of 1"])
        new = counted(helpers={"ktime_get_ns": 1, "probe_read_user": 1})
        self.assertEqual(guard.compare_bpf("work", new, KNOWN),
                         ["work: 1 calls of probe_read_user instead of 0"])
        self.assertEqual(guard.compare_bpf("work", counted(tail_calls=2), KNOWN),
                         ["work: 2 tail calls instead of 1"])
        self.assertEqual(guard.compare_bpf("work", counted(helpers={}), KNOWN), [])

    def test_a_ratio_fails_above_a_tenth_and_some_slack(self):
        known = {("raw", "send"): 2.0, ("raw", "getuid"): 0.01}
        same = {("raw", "send"): 2.23, ("raw", "getuid"): 0.05}
        self.assertEqual(time_guard.worse(same, known), [])
        more = {("raw", "send"): 2.25, ("raw", "getuid"): 0.052}
        self.assertEqual(time_guard.worse(more, known), [("raw", "send"), ("raw", "getuid")])
        self.assertEqual(time_guard.worse(time_guard.least(more, same), known), [])

    def test_work_that_nobody_noted_fails(self):
        self.assertEqual(guard.compare("new", 1, None), ["new is not known yet"])
        self.assertEqual(guard.compare_bpf("new", counted(), None), ["new is not known yet"])

    def test_what_is_written_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "known.json")
            for known in ({"append": 1.5}, {"raw": {"getuid": KNOWN, "send": KNOWN}}):
                guard.write(path, known)
                self.assertEqual(guard.read(path), known)


if __name__ == "__main__":
    unittest.main()
