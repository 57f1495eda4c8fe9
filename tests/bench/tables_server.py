# SPDX-License-Identifier: Apache-2.0
"""The tables of server_bench."""
from markdown import about, number, table


def value(row, name, form=number):
    return form(row[name]["median"]) if name in row else ""


def signed(text):
    return text if text.startswith("-") else f"+{text}"


def change(row, name):
    """Added to a request: the median, with the least and the most of all rounds."""
    if name not in row:
        return ""
    low, middle, high = (signed(f"{row[name][key]:.2f}") for key in ("min", "median", "max"))
    return f"{middle} ({low} to {high})"


def records(row):
    if "packets_per_request" in row:
        return f"{value(row, 'packets_per_request')} packets"
    if "captured_per_request" not in row:
        return ""
    least, wanted = row["captured_per_request"]["min"], row["expected_per_request"]["median"]
    text = f"{row['captured_per_request']['median']:.3g}"
    return text if row.get("complete", True) else f"**{least:.4g} of {wanted:.4g}**"


def lost(row):
    causes = [f"{count:,} {stage.replace('_', ' ')}"
              for stage, count in row["lost"].items() if count]
    return ", ".join(causes) or ("0" if row["lost"] else "")


def line(row):
    if "failure" in row:
        return [row["mode"], row["failure"]] + [""] * 10
    two = "{:.2f}".format
    ratio = row.get("rate_ratio")
    rate = value(row, "requests_per_s")
    return [row["mode"], f"{rate} ({100 * ratio['median']:.2f} %)" if ratio else rate,
            value(row, "p50_us"), value(row, "p99_us"), value(row, "server_us", two),
            value(row, "client_us", two),
            value(row, "tracer_us", two) if ratio else "",
            value(row, "consumers_us", two) if row.get("consumers_us", {}).get("max") else "",
            change(row, "added_us"), change(row, "added_with_client_us"), records(row), lost(row)]


HEAD = ["", "requests/s (of untraced)", "p50 µs", "p99 µs", "server µs", "client µs", "tracer µs",
        "consumers µs", "added µs", "with the client µs", "records", "lost"]


def workload(part):
    if "failure" in part:
        return f"**{part['title']}**: {part['failure']}"
    out = []
    for load, how in (("limited", f"{part['rate']:,.0f} requests/s wanted"),
                      ("flat out", f"by {part['flat_out_client']}")):
        rows = [line(row) for row in part["rows"] if row["load"] == load]
        if rows:
            out.append(f"**{part['title']}**, {part['connections']:,} connections; {load}, {how}; "
                       f"{part['rounds']} rounds of {number(part['seconds'])} s"
                       f"\n\n{table(HEAD, rows)}")
    return "\n\n".join(out)


def sections(document):
    return [about(document)] + [workload(part) for part in document["workloads"]]
