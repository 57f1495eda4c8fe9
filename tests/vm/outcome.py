# SPDX-License-Identifier: Apache-2.0
"""What one way to trace (attach back end and source of offsets) gave on one kernel."""

import base64
import gzip
import json
import re

from smoke_check import LOOPBACK, check_smoke

RAW_SINCE = (4, 17)  # raw tracepoints
DIRECT_SINCE = (6, 2)  # loads of kernel memory through bpf_rdonly_cast
PREEMPTED_SINCE = (7, 0)  # see "preempted" in docs/CAPTURE.md
PROBLEMS_SHOWN = 20
MAY_STAY = 4  # ended sockets, of about thirty: live ones may have their addresses now
COUNTERS = ("kern_emitted", "kern_lost", "kern_unknown", "kern_bad_pointer", "kern_socket_map_full",
            "kern_trace_map_full", "kern_skipped", "user_enqueue_lost", "bad_events",
            "late_events")
# Differ from run to run. What stands for them is in normalised().
VARIABLE = ("process_id", "thread_id", "lport", "rport", "socket_id", "tcp_seq", "timestamp",
            "syscall_trace_id_call", "lane", "seq", "epoch")


def unpack(lines):
    try:
        return gzip.decompress(base64.b64decode("".join(lines))).decode("utf-8", "replace")
    except (ValueError, OSError, EOFError):
        return ""


def is_packed(line):
    """Whether a line is part of a section's data."""
    return re.fullmatch(r"[A-Za-z0-9+/=]+", line) is not None


class Transcript:
    """What trace.sh printed: its sections, the programs' exit codes, what is missing."""

    def __init__(self, lines):
        self.lines = lines
        self.sections, self.codes, self.missing, self.left = {}, {}, [], {}
        current, packed = None, []
        for line in lines:
            if line.startswith("@@ begin "):
                current, packed = line.split()[2], []
            elif line.startswith("@@ end ") and current:
                self.sections[current] = "\n".join(packed) if current == "dmesg" else unpack(packed)
                current = None
            elif line.startswith("@@ exit "):
                words = line.split()
                self.codes.setdefault(words[2], {})[words[3]] = int(words[4])
            elif line.startswith("@@ left "):
                self.left[line.split()[2]] = " ".join(line.split()[3:])
            elif line.startswith("@@ missing "):
                self.missing.append(line[len("@@ missing "):])
            elif current and is_packed(line) or current == "dmesg":
                packed.append(line)
        self.facts = dict(line.split("=", 1) for line in self.sections.get("kernel", "").splitlines()
                          if "=" in line)
        self.release = self.facts.get("release", "")

    def version(self):
        found = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def json_lines(text):
    """Objects among lines, and how many lines were none."""
    parsed, broken = [], 0
    for line in text.splitlines():
        try:
            parsed.append(json.loads(line))
        except ValueError:
            broken += 1
    return parsed, broken


def json_object(text):
    try:
        return json.loads(text)
    except ValueError:
        return {}


class Outcome:
    """kind: "good", "wrong", "refused" (the producer did not start), "absent" (this kernel
    cannot have that way)."""

    def __init__(self, transcript, way):
        self.way = way
        self.release = transcript.release
        self._texts = {name.split("/", 1)[1]: text for name, text in transcript.sections.items()
                       if name.startswith(way + "/")}
        self._codes = transcript.codes.get(way, {})
        self.problems, self.records = [], []
        self.captured = self.expected = self.skipped = 0
        self.attach = self.source = "-"
        self.has_ipv6 = self.is_complete = True
        self.kind = self._judge(transcript)

    def text(self, name):
        return self._texts.get(name, "")

    def offsets(self):
        table = json_object(self.text("socktrace.json")).get("offsets", [])
        return {entry["name"]: entry["offset"] for entry in table}

    def _judge(self, transcript):
        attach = self.way.split(":")[0]
        if "traffic" not in self._codes:
            self.problems = self.text("producer.err").strip().splitlines()[-1:] or \
                ["the producer said nothing; its exit code: " + str(self._codes.get("producer"))]
            if attach == "raw" and transcript.version() < RAW_SINCE:
                self.problems = ["raw tracepoints came with Linux 4.17"]
                return "absent"
            if attach == "direct" and transcript.version() < DIRECT_SINCE:
                self.problems = ["direct loads came with Linux 6.2"]
                return "absent"
            if attach == "tracepoint" and "no system call tracepoints" in self.problems[0]:
                return "absent"
            return "refused"
        tracer = json_object(self.text("tracer.json"))
        self.attach = tracer.get("attach", "-")
        self.source = tracer.get("offsets_source", "-")
        reports, _ = json_lines(self.text("traffic.json"))
        if self._codes["traffic"] != 0 or not reports:
            self.problems = ["the traffic itself failed: " + self.text("traffic.err").strip()]
            return "wrong"
        self.skipped = tracer.get("kern_skipped", 0)
        self._compare(reports[0], transcript.version() >= PREEMPTED_SINCE)
        left = transcript.left.get(self.way, "0")
        if not left.isdigit() or int(left) > MAY_STAY:
            self.problems.append(f"{left} sockets are followed that have ended")
        counters = [f"{name} {tracer[name]}" for name in COUNTERS if tracer.get(name)]
        if self.problems and counters:
            self.problems.insert(0, "counters: " + ", ".join(counters))
        return "wrong" if self.problems else "good"

    def _compare(self, report, is_preempted):
        self.has_ipv6 = report["ipv6"]
        objects, broken = json_lines(self.text("records.json"))
        gaps = [one for one in objects if "gap" in one]
        records = [one for one in objects if "gap" not in one]
        self.problems, captured, expected = check_smoke(report, records)
        self.captured, self.expected = sum(captured.values()), sum(expected.values())
        missing = self.expected - self.captured
        if is_preempted and 0 < missing <= self.skipped:
            # What is missing was counted, and the rest must be right.
            self.is_complete = False
            self.problems, _, _ = check_smoke(report, records, may_miss=True)
        self.problems += [f"gap in the stream: {gap}" for gap in gaps]
        if broken:
            self.problems.append(f"{broken} lines of the agent are no JSON")
        self.problems += [f"{name} ended with exit code {code}"
                          for name, code in self._codes.items() if code]
        self.records = normalised(report, records)


def normalised(report, records):
    """The records of both sides, in order, with what differs from run to run replaced by what
    does not: ports by roles, ids by their order, sequence numbers by distances."""
    ports = {}  # one number can be several ports: by address family and protocol
    for number, flow in enumerate(report["flows"]):
        kind = (LOOPBACK[flow["family"]][1], flow["protocol"])
        ports[*kind, flow["client_port"]] = f"client of flow {number}"
        ports[*kind, flow["server_port"]] = f"server of {flow['family']} {flow['protocol']}"
    result = []
    for role in ("client", "server"):
        sockets, traces, starts = {}, {0: 0}, {}
        for record in records:
            if record["process_id"] != report[f"{role}_pid"]:
                continue
            stream = (record["socket_id"], record["direction"])
            row = {name: value for name, value in record.items() if name not in VARIABLE}
            kind = (record["addr_len"], record["protocol"])
            row["ports"] = [ports.get((*kind, record[end])) for end in ("lport", "rport")]
            row["socket"] = sockets.setdefault(record["socket_id"], len(sockets))
            row["trace"] = traces.setdefault(record["syscall_trace_id_call"], len(traces))
            row["position"] = (record["tcp_seq"] -
                               starts.setdefault(stream, record["tcp_seq"])) % (1 << 32)
            row["is_main_thread"] = record["process_id"] == record["thread_id"]
            result.append(row)
    return result


def differences(one, other):
    """How two outcomes' records differ, as lines."""
    found = []
    if one.has_ipv6 != other.has_ipv6 or not (one.is_complete and other.is_complete):
        return found  # not the same records
    if len(one.records) != len(other.records):
        found.append(f"{len(one.records)} records, and {len(other.records)} with {other.way} on "
                     f"{other.release}")
    for at, (mine, theirs) in enumerate(zip(one.records, other.records)):
        for name in sorted(set(mine) | set(theirs)):
            if mine.get(name) != theirs.get(name):
                found.append(f"record {at}: {name} is {mine.get(name)!r}, with {other.way} on "
                             f"{other.release} it is {theirs.get(name)!r}")
    return found


def offset_differences(outcomes):
    """Every source of offsets must say the same of one kernel."""
    found, first = [], None
    for outcome in outcomes:
        table = outcome.offsets()
        if not table:
            continue
        if first is None:
            first = (outcome, table)
        for name in sorted(set(table) | set(first[1])):
            if not outcome.has_ipv6 and "v6" in name:
                continue
            if table.get(name) != first[1].get(name):
                found.append(f"{name} is {table.get(name)} by {outcome.source}, and "
                             f"{first[1].get(name)} by {first[0].source}")
    return found
