# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix: what each record is said to be, against what the server at its port
really speaks."""

import collections
import concurrent.futures

import trace_file
from lib import check, check_equal, enter_own_network
from servers import HOST

RECALL, PRECISION, TYPES_RIGHT = 0.99, 0.999, 0.999
PROTOCOLS = [name for number, name in trace_file.PROTOCOLS.items() if number]
# Where our servers are, as far as they do what they are told.
ADDRESSES = {bytes(map(int, HOST.split(".")))}

# Never shut down: a program that a thread has started ends with the thread (die_with_parent).
POOL = concurrent.futures.ThreadPoolExecutor(3)


def run_traffic(bench, conversations):
    """Some at a time, because most of the time is spent waiting for programs to start."""
    running = [POOL.submit(traffic, bench, port) for port, _, traffic in conversations]
    for done in concurrent.futures.as_completed(running):
        done.result()


class Row:
    """What was said of the records of one server."""

    def __init__(self, truth):
        self.truth = truth
        self.labels = collections.Counter()
        self.likely = 0
        self.certain = 0
        self.types_right = 0
        self.types_wrong = 0
        self.examples = []

    def add(self, record, to_server):
        label = trace_file.PROTOCOLS.get(record.l7, str(record.l7))
        self.labels[label] += 1
        if record.l7 and record.need_reconfirm:
            self.likely += 1
        elif record.l7:
            self.certain += 1
        wanted = trace_file.REQUEST if to_server else trace_file.RESPONSE
        right = True
        # Events of Dubbo (signs of life, the end) are requests of either side.
        is_event = label == "Dubbo" and any(byte & 0x20 for byte in record.payload[2:3])
        if record.l7 and record.msg_type and not is_event:
            right = record.msg_type == wanted
            self.types_right += right
            self.types_wrong += not right
        expected = self.truth if self.truth in PROTOCOLS else "none"
        if (label != expected or not right) and len(self.examples) < 5:
            self.examples.append(trace_file.brief(record))

    def total(self):
        return sum(self.labels.values())


def rows_of(records, conversations):
    rows = {port: Row(name) for port, name, _ in conversations}
    for record in records:
        local, remote = record.laddr[:4] in ADDRESSES, record.raddr[:4] in ADDRESSES
        if local and record.lport in rows:
            rows[record.lport].add(record, record.direction == trace_file.RECEIVED)
        elif remote and record.rport in rows:
            rows[record.rport].add(record, record.direction == trace_file.SENT)
    return list(rows.values())


def print_matrix(rows):
    columns = [*PROTOCOLS, "none"]
    print(f"| {'server speaks':13} |" + "".join(f" {name:>7} |" for name in columns)
          + "  likely |  recall | types right |")
    print("|---|" + "---:|" * (len(columns) + 3))
    for row in rows:
        known = row.truth in PROTOCOLS
        recall = f"{row.labels[row.truth] / max(1, row.total()):.2%}" if known else ""
        types = row.types_right + row.types_wrong
        right = f"{row.types_right / types:.3%}" if types and known else ""
        print(f"| {row.truth:13} |" + "".join(f" {row.labels[name]:7} |" for name in columns)
              + f" {row.likely:7} | {recall:>7} | {right:>11} |")


def judge(rows):
    """Every way in which the matrix is not good enough, as a list of lines."""
    faults = []
    for row in rows:
        if row.truth in PROTOCOLS:
            recall = row.labels[row.truth] / max(1, row.total())
            types = row.types_right / max(1, row.types_right + row.types_wrong)
            if recall < RECALL:
                faults.append(f"{row.truth}: recall {recall:.2%}")
            if types < TYPES_RIGHT:
                faults.append(f"{row.truth}: request/response right {types:.3%}")
        else:
            if row.certain:
                faults.append(f"{row.truth}: {row.certain} records certain of a protocol")
            if row.total() == 0:
                faults.append(f"{row.truth}: no record at all")
    for protocol in PROTOCOLS:
        said = sum(row.labels[protocol] for row in rows)
        right = sum(row.labels[protocol] for row in rows if row.truth == protocol)
        if said and right / said < PRECISION:
            faults.append(f"{protocol}: precision {right / said:.3%}")
    return faults


def measure(bench, conversations):
    """Traces (port, what is spoken there, traffic), prints the matrix, and fails where it is not
    good enough."""
    enter_own_network()
    trace = bench.path("trace.ebpfrec")
    producer = bench.producer("--perf-pages", "8192", "--capture-unknown", "--cap-len", "128",
                              "--record", trace)
    run_traffic(bench, conversations)
    check_equal(producer.stop(), 0, "exit code of the producer")
    records, gaps = trace_file.read(trace)
    check_equal(gaps, [], "gaps in the trace")
    rows = rows_of(records, conversations)
    print_matrix(rows)
    faults = judge(rows)
    for row in rows if faults else []:
        for example in row.examples:
            print(f"  {row.truth}: {example}")
    check(not faults, "; ".join(faults))
