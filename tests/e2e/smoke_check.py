# SPDX-License-Identifier: Apache-2.0
"""Compares records with what `ebpf-traffic smoke` says that it did, field by field.

Used by the end-to-end tests, the demo and the VM runs. No dependency on the test library.
"""

import functools

HINT = {"HTTP": 20, "DNS": 120}
LOOPBACK = {"ipv4": ("127.0.0.1", 4), "ipv6": ("::1", 6)}


class Expected:
    """One system call that must have become one record."""

    def __init__(self, remote_port, direction, msg_type, size, start):
        self.remote_port = remote_port
        self.direction = direction
        self.msg_type = msg_type
        self.size = size
        self.start = start  # first bytes of the payload


@functools.lru_cache(maxsize=None)
def http_response(size):
    """The whole response of the traffic program, from its size."""
    for body in range(size):
        head = b"HTTP/1.1 200 OK\r\nServer: ebpf-traffic\r\nContent-Length: %d\r\n\r\n" % body
        if len(head) + body == size:
            return head + bytes(i & 0xff for i in range(body))
    raise ValueError(f"no response has {size} bytes")


def dns_name(flow, exchange):
    labels = [flow["family"], flow["client_calls"][0], str(exchange), "smoke", "test"]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels)


def messages(flow, exchange):
    """The bytes that a request and its response start with."""
    if flow["l7_protocol"] == "HTTP":
        path = f"/smoke/{flow['family']}/{flow['client_calls'][0]}/{exchange}"
        return (f"GET {path} HTTP/1.1\r\n".encode(),
                http_response(flow["response_bytes"][exchange]))
    number = (1000 + exchange).to_bytes(2, "big")
    name = dns_name(flow, exchange)
    return (number + b"\x01\x00\x00\x01" + bytes(6) + name,
            number + b"\x81\x80\x00\x01\x00\x01" + bytes(4) + name)


def side_of(flow, client):
    """What one side of a flow must have sent and received, in order."""
    remote_port = flow["server_port" if client else "client_port"]
    expected = []
    sizes = zip(flow["request_bytes"], flow["response_bytes"])
    for exchange, (request, response) in enumerate(sizes):
        start = messages(flow, exchange)
        expected.append(Expected(remote_port, "send" if client else "recv", "request", request,
                                 start[0]))
        expected.append(Expected(remote_port, "recv" if client else "send", "response", response,
                                 start[1]))
    return expected


def that_came(records, expected):
    """What was expected, without what is missing from the records: these are in its order."""
    found, left = [], list(expected)
    for record in records:
        data = record["cap_data"].encode("latin-1")
        while left and not (left[0].direction == record["direction"] and
                            left[0].size == record["syscall_len"] and
                            data.startswith(left[0].start[:len(data)])):
            left.pop(0)
        if left:
            found.append(left.pop(0))
    return found


def compare(records, expected, fixed, cap_bytes, say):
    """One socket's records against what was expected; `fixed`: fields equal in all of them."""
    if len(records) != len(expected):
        say(f"{len(records)} records instead of {len(expected)}")
    for at, (record, wanted) in enumerate(zip(records, expected)):
        data = record["cap_data"].encode("latin-1")
        cap_len = min(wanted.size, cap_bytes)
        fields = dict(fixed, rport=wanted.remote_port, direction=wanted.direction, msg_type=wanted.msg_type,
                      syscall_len=wanted.size, cap_len=cap_len, need_reconfirm=False,
                      socket_id=records[0]["socket_id"])
        for name, value in fields.items():
            if record.get(name) != value:
                say(f"record {at}: {name} is {record.get(name)!r}, must be {value!r}")
        if len(data) != cap_len or data[:len(wanted.start)] != wanted.start[:cap_len]:
            say(f"record {at}: payload is {data[:60]!r} ({len(data)} bytes), must be "
                f"{wanted.start[:60]!r} ({cap_len} bytes)")
        if at and record["timestamp"] < records[at - 1]["timestamp"]:
            say(f"record {at}: is older than the one before it")


def check_cap_seq(records, say):
    if [record["cap_seq"] for record in records] != list(range(len(records))):
        say(f"cap_seq is {[record['cap_seq'] for record in records]}, must count from 0")


def check_tcp_seq(records, tcp, say):
    """Each direction's sequence number goes on where the last record's payload ended."""
    following = {}
    for at, record in enumerate(records):
        wanted = following.get(record["direction"], record["tcp_seq"]) if tcp else 0
        if record["tcp_seq"] != wanted or record["tcp_seq"] >= 1 << 32:
            say(f"record {at}: tcp_seq is {record['tcp_seq']}, must be {wanted}")
        following[record["direction"]] = (record["tcp_seq"] + record["syscall_len"]) % (1 << 32)


def check_trace_ids(records, say):
    """In the order of one thread: each receive has a new id, each send the id before it."""
    current, seen = 0, {0}
    for at, record in enumerate(records):
        trace_id = record["syscall_trace_id_call"]
        if record["direction"] == "send":
            if trace_id != current:
                say(f"record {at}: sends with trace id {trace_id}, must be {current}")
            continue
        if trace_id in seen:
            say(f"record {at}: receives with trace id {trace_id}, which is not new")
        seen.add(trace_id)
        current = trace_id


def check_smoke(report, records, cap_bytes=512, may_miss=False):
    """Gives (problems, captured, expected): problems as lines, and the counts of records.
    `may_miss`: records may be missing; those that are there must be right all the same."""
    problems, captured, wanted_total = [], {}, {}
    ids = set()
    for client in (True, False):
        role = "client" if client else "server"
        pid = report[f"{role}_pid"]
        own = [record for record in records if record["process_id"] == pid]
        if not may_miss:
            check_trace_ids(own, lambda what, role=role: problems.append(f"{role}: {what}"))
        for where, mine, expected, fixed in sockets(report, own, client):
            def say(what, where=where):
                problems.append(f"{where}: {what}")
            fixed = dict(fixed, process_id=pid, thread_id=pid,
                         process_name=report[f"{role}_name"])
            came = that_came(mine, expected) if may_miss else expected
            compare(mine, came, fixed, cap_bytes, say)
            check_cap_seq(mine, say)
            if not may_miss:
                check_tcp_seq(mine, fixed["protocol"] == 6, say)
            for record in mine:
                count(captured, fixed["l7_protocol"], role, record["direction"])
            for one in expected:
                count(wanted_total, fixed["l7_protocol"], role, one.direction)
            socket_ids = {record["socket_id"] for record in mine}
            if socket_ids & ids:
                problems.append(f"{where}: shares its socket_id with another socket")
            ids |= socket_ids
    if not may_miss:
        problems += tcp_ends_agree(report, records)
    return problems, captured, wanted_total


def count(table, protocol, role, direction):
    key = f"{protocol} {role} {direction}"
    table[key] = table.get(key, 0) + 1


def is_of(flow, record):
    """Whether a record has a flow's protocol and address family: its port numbers alone
    can be those of another one, too."""
    return (record["protocol"], record["addr_len"]) == \
        (flow["protocol"], LOOPBACK[flow["family"]][1])


def sockets(report, own, client):
    """Each socket of one side: (its name, its records, what must be there, fixed fields)."""
    shared = {}
    for flow in report["flows"]:
        address, addr_len = LOOPBACK[flow["family"]]
        tcp = flow["protocol"] == 6
        fixed = {"protocol": flow["protocol"], "l7_protocol": flow["l7_protocol"],
                 "l7_protocal_hint": HINT[flow["l7_protocol"]], "addr_len": addr_len,
                 "laddr": address, "raddr": address}
        calls = "/".join(flow["client_calls" if client else "server_calls"])
        name = f"{flow['l7_protocol']} over {flow['family']}, " \
               f"{'client' if client else 'server'} with {calls}"
        fixed["lport"] = flow["client_port" if client else "server_port"]
        expected = side_of(flow, client)
        if not client and not tcp:
            # All flows of a family meet one socket, which is not connected: the peer is the
            # one that each call names.
            entry = shared.setdefault(flow["family"], (f"DNS over {flow['family']}, server",
                                                       flow, fixed, []))
            entry[3].extend(expected)
            continue
        mine = [record for record in own if is_of(flow, record) and
                (record["lport"], record["rport"]) == (fixed["lport"], expected[0].remote_port)]
        yield name, mine, expected, fixed
    for name, flow, fixed, expected in shared.values():
        mine = [record for record in own if is_of(flow, record) and
                record["lport"] == fixed["lport"]]
        yield name, mine, expected, fixed


def tcp_ends_agree(report, records):
    """What one end sent has the sequence numbers that the other end received."""
    problems = []
    for flow in report["flows"]:
        if flow["protocol"] != 6:
            continue
        ports = (flow["client_port"], flow["server_port"])

        def numbers(direction, local, remote, flow=flow):
            return [record["tcp_seq"] for record in records
                    if record["direction"] == direction and is_of(flow, record) and
                    (record["lport"], record["rport"]) == (local, remote)]
        for one, other in (ports, ports[::-1]):
            sent, received = numbers("send", one, other), numbers("recv", other, one)
            if sent != received:
                problems.append(f"TCP {one} -> {other}: sent with tcp_seq {sent}, "
                                f"received with {received}")
    return problems
