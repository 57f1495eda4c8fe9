# SPDX-License-Identifier: Apache-2.0
"""What the server benches found: medians with spread, what tracing added, figures to reach."""

import os
import platform
import re
import statistics
import subprocess
import time

import lib
import server_tracers
import server_workloads

SPREAD = ("requests", "requests_per_s", "p50_us", "p99_us", "p999_us", "server_us", "client_us",
          "tracer_us", "consumers_us", "machine_us", "captured_per_request", "packets_per_request",
          "expected_per_request", "lost_in_all")
ROLES = ("server", "client", "tracer", "consumers", "machine")
HEADLINE = "1 consumer"


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "each": values}


def added(rounds, base, roles):
    """What a request costs more than untraced, round by round: all of these roles together."""
    return spread([sum(row[f"{role}_us"] - plain[f"{role}_us"] for role in roles)
                   for row, plain in zip(rounds, base)])


def at_best(rounds, base, roles):
    """The same of the best rounds of both: what disturbs a machine only adds."""
    return sum(min(row[f"{role}_us"] for row in rounds) - min(row[f"{role}_us"] for row in base)
               for role in roles)


def row_of(load, mode, rounds, base):
    """One line of the table: all rounds of one way of tracing."""
    row = {"load": load, "mode": mode}
    for name in SPREAD:
        values = [one[name] for one in rounds if one.get(name) is not None]
        if values:
            row[name] = spread(values)
    lost = {}
    for one in rounds:
        for stage, count in one["lost"].items():
            lost[stage] = lost.get(stage, 0) + count
    row["lost"] = lost
    row["timeouts"] = sum(one.get("timeouts", 0) for one in rounds)
    if any("complete" in one for one in rounds):
        row["complete"] = all(one["complete"] for one in rounds)
    if mode != "untraced" and len(base) == len(rounds):
        row["rate_ratio"] = spread([one["requests_per_s"] / plain["requests_per_s"]
                                    for one, plain in zip(rounds, base)])
        for role in ROLES:
            row[f"{role}_added_us"] = added(rounds, base, (role,))
        row["added_us"] = added(rounds, base, ("server", "tracer"))
        row["added_at_best_us"] = at_best(rounds, base, ("server", "tracer"))
        row["added_with_client_us"] = added(rounds, base, ("server", "tracer", "client"))
    return row


def workload_part(workload, settings, most, rows, failures):
    """All that is known of one workload."""
    lines = []
    for load in ("limited", "flat out"):
        base = [one for one in rows if one["load"] == load and one["mode"] == "untraced"]
        for tracer in server_tracers.all_tracers():
            rounds = [one for one in rows if one["load"] == load and one["mode"] == tracer.name]
            if rounds and (load, tracer.name) not in failures:
                lines.append(row_of(load, tracer.name, rounds, base))
    lines += [{"load": load, "mode": mode, "failure": reason}
              for (load, mode), reason in failures.items()]
    return {"workload": workload.name, "title": workload.title,
            "rate": settings["rates"][workload.name], "most": most,
            "rounds": settings["rounds"], "seconds": settings["seconds"],
            "connections": workload.connections, "batch": workload.batch,
            "flat_out_client": workload.flat_out_client(), "rows": lines}


# ---- The figures to reach ----

def find(document, workload, load, mode):
    for part in document["workloads"]:
        for row in part.get("rows", ()):
            if (part["workload"] == workload and row["load"] == load and row["mode"] == mode
                    and "failure" not in row):
                return row
    return None


def figure(title, unit, reached, at_most=None, at_least=None):
    row = {"figure": title, "unit": unit}
    row |= {"at_most": at_most} if at_least is None else {"at_least": at_least}
    if reached is not None:
        row["reached"] = reached
        row["met"] = reached <= at_most if at_least is None else reached >= at_least
    return row


def figures_of(document):
    """What a user of the machine would notice, with default settings and one agent."""
    rows, measured = [], []
    for part in document["workloads"]:
        row = find(document, part["workload"], "limited", HEADLINE)
        if row and "rate_ratio" in row:
            measured.append(row)
        rows.append(figure(f"{part['title']}: added CPU per request, server and producer", "µs",
                           row and row.get("added_us", {}).get("median"), at_most=3))
        if part["workload"] == "nginx":
            alone = find(document, "nginx", "limited", "server only")
            rows.append(figure(f"{part['title']}: the same, of the server's calls only", "µs",
                               alone and alone.get("added_us", {}).get("median"), at_most=3))
    rows.append(figure("requests/s at half the machine, of untraced, the least of all", "%",
                       100 * min(row["rate_ratio"]["median"] for row in measured)
                       if measured else None, at_least=99.9))
    rows.append(figure("records lost at half the machine, of all", "records",
                       sum(sum(row["lost"].values()) for row in measured)
                       if measured else None, at_most=0))
    return rows


# ---- The document ----

def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = re.findall(r"model name\s*: (.*)", file.read())
    return {"cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count(),
            "kernel": f"{platform.system()} {platform.release()}",
            "load_before": os.getloadavg()[0]}


def version_of(name, *arguments):
    """The first line that has a number in it; None where it is not installed."""
    try:
        done = subprocess.run([lib.foreign(name), *arguments], capture_output=True, text=True,
                              check=False)
    except lib.Skip:
        return None
    found = re.search(r"\d+\.\d+[\w.~+-]*", done.stdout + done.stderr)
    return found.group(0) if found else "unknown"


def versions():
    asked = {"nginx": "-v", "wrk": "-v", "redis-server": "--version", "mariadbd": "--version",
             "dnsmasq": "--version", "dnsperf": "-h", "bpftrace": "--version",
             "tcpdump": "--version"}
    done = subprocess.run([lib.program("ebpf-producer"), "--version"], capture_output=True,
                          text=True, check=False)
    known = {"libebpf": done.stdout.split()[-1]}
    for name, option in asked.items():
        version = version_of(name, option)
        if version:
            known[name] = version
    return known


def document(parts, settings, about):
    """How long each workload was measured is said with it: --keep brings several runs together."""
    whole = {"schema_version": 1, "bench": "server_bench", "machine": about,
             "versions": versions(),
             "settings": {name: settings[name] for name in ("producer", "flat_out", "rates")},
             "workloads": parts,
             "time": int(time.time())}
    whole["figures"] = figures_of(whole)
    return whole


def merged(old, new):
    """The new figures, and of the old ones the workloads that were not measured anew."""
    fresh = {part["workload"]: part for part in new["workloads"]}
    kept = [fresh.pop(part["workload"], part) for part in old["workloads"]]
    new["settings"]["rates"] = old["settings"]["rates"] | new["settings"]["rates"]
    order = list(server_workloads.WORKLOADS)
    new["workloads"] = sorted(kept + list(fresh.values()),
                              key=lambda part: order.index(part["workload"]))
    new["figures"] = figures_of(new)
    return new


# ---- On the terminal ----

def amount(row, name, digits=1):
    return f"{row[name]['median']:.{digits}f}" if name in row else "-"


def print_workload(part):
    if "failure" in part:
        print(f"\n{part['title']}: {part['failure']}")
        return
    print(f"\n{part['title']}: {part['connections']} connections, limited to "
          f"{part['rate']:.0f} requests/s; flat out by {part['flat_out_client']}")
    print(f"{'':9}{'':13}{'requests/s':>11} {'ratio':>7}{'p50':>7}{'p99':>8} |"
          f"{'server':>8}{'client':>8}{'tracer':>8}{'readers':>8} |{'added':>7}"
          f"{'(least to most)':>17}{'+client':>8}{'machine':>8} |{'records':>8}{'lost':>9}   "
          "µs of CPU per request")
    for row in part["rows"]:
        print(f"{row['load']:9}{row['mode']:13}{line_of(row)}")


def line_of(row):
    if "failure" in row:
        return f" {row['failure']}"
    ratio = f"{row['rate_ratio']['median']:.4f}" if "rate_ratio" in row else ""
    text = (f"{row['requests_per_s']['median']:11.0f} {ratio:>7}{amount(row, 'p50_us', 0):>7}"
            f"{amount(row, 'p99_us', 0):>8} |{amount(row, 'server_us', 2):>8}"
            f"{amount(row, 'client_us', 2):>8}{amount(row, 'tracer_us', 2):>8}"
            f"{amount(row, 'consumers_us', 2):>8} |")
    if "added_us" in row:
        more = row["added_us"]
        text += (f"{more['median']:+7.2f}" + f"({more['min']:+.2f} to {more['max']:+.2f})".rjust(17)
                 + f"{row['added_with_client_us']['median']:+8.2f}"
                   f"{row['machine_added_us']['median']:+8.2f}")
    else:
        text += " " * 40
    records = amount(row, "captured_per_request" if "captured_per_request" in row
                     else "packets_per_request", 3)
    mark = "" if row.get("complete", True) else f" of {amount(row, 'expected_per_request', 3)}!"
    return text + f" |{records:>8}{sum(row['lost'].values()):9d}{mark}"


def print_figures(whole):
    print("\nFigures to reach")
    for row in whole["figures"]:
        bound = f"≤ {row['at_most']:g}" if "at_most" in row else f"≥ {row['at_least']:g}"
        reached = f"{row['reached']:10.5g}" if "reached" in row else f"{'-':>10}"
        met = {True: "reached", False: "not reached", None: "not measured"}[row.get("met")]
        print(f"  {row['figure']:72}{bound:>8} {row['unit']:3}{reached}  {met}")
