# SPDX-License-Identifier: Apache-2.0
"""Parts of scale_bench: buffers against loss, the ring's size and lanes against the cost per
record, and memory at the default options and at the extremes of each."""
from bench_json import spread
from scale_lib import Tracer, lib, measure, memory

# The least and the most of each option, where that is not the default; most that is reasonable
# here where the most would be more than this machine has.
EXTREMES = (("default", ()),
            ("--ring-size 2", ("--ring-size", "2")),
            ("--ring-size 1048576", ("--ring-size", "1048576")),
            ("--ring-size 1048576 --prefault", ("--ring-size", "1048576", "--prefault")),
            ("--prefault", ("--prefault",)),
            ("--threads 64", ("--threads", "64")),
            ("--max-consumers 1", ("--max-consumers", "1")),
            ("--cap-len 1", ("--cap-len", "1")),
            ("--cap-len 16384", ("--cap-len", "16384")),
            ("--perf-pages 1", ("--perf-pages", "1")),
            ("--perf-pages 8192", ("--perf-pages", "8192")),
            ("--transport perf", ("--transport", "perf")),
            ("--max-socket-entries 1", ("--max-socket-entries", "1")),
            ("--max-socket-entries 16777216", ("--max-socket-entries", "16777216")),
            ("--max-trace-entries 1", ("--max-trace-entries", "1")),
            ("--max-trace-entries 16777216", ("--max-trace-entries", "16777216")))


def measure_memory(bench, worker, plan):
    rows = []
    for name, options in EXTREMES[:plan["memory_rows"]]:
        try:
            tracer = Tracer(bench, *options)
        except (lib.Skip, lib.Failure) as reason:  # more than this machine or kernel has
            rows.append({"options": name, "failure": str(reason)})
            continue
        worker.work(500, rate=10_000)
        rows.append({"options": name, **memory(tracer)})
        tracer.end()
    return rows


def measure_buffers(bench, worker, plan):
    """A burst without pause on one CPU, beside a drain on the other."""
    rows = []
    for transport in ("ringbuf", "perf"):
        for pages in plan["pages"]:
            try:
                tracer = Tracer(bench, "--perf-pages", str(pages), "--transport", transport)
            except lib.Skip:  # a kernel without BPF ring buffers
                break
            worker.work(200)
            runs = [measure(tracer, worker, plan["burst_pairs"]) for _ in range(plan["rounds"])]
            rows.append({"transport": transport, "pages": pages,
                         "buffer_bytes": memory(tracer)["buffer_bytes"],
                         "emitted": sum(run["emitted"] for run in runs),
                         "lost": sum(run["lost"] for run in runs),
                         "lost_percent": spread([100 * run["lost"] / run["emitted"]
                                                 for run in runs]),
                         "drain_ns": spread([run["drain_ns"] for run in runs])})
            tracer.end()
    return rows


def measure_rings(bench, worker, plan):
    """Sockets on all lanes; a reader beside it."""
    rows = []
    worker.open(64)
    for size, lanes in plan["rings"]:
        tracer = Tracer(bench, "--ring-size", str(size), "--threads", str(lanes))
        tracer.add_readers(1)
        worker.work(200, pick="random")
        runs = [measure(tracer, worker, plan["ring_pairs"], pick="random", rate=20_000)
                for _ in range(plan["rounds"])]
        rows.append({"ring_size": size, "lanes": lanes,
                     "ring_bytes": memory(tracer)["ring_bytes"],
                     "drain_ns": spread([run["drain_ns"] for run in runs]),
                     "published": sum(run["published"] for run in runs),
                     "lost": sum(run["lost"] for run in runs)})
        tracer.end()
    return rows
