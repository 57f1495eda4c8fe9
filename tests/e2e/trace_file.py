# SPDX-License-Identifier: Apache-2.0
"""Reads what `ebpf-producer --record` and `ebpfctl record` wrote (include/libebpf/trace_file.h)."""

import collections
import socket
import struct
import zlib

from lib import check

HEADER = struct.Struct("<QIIQI32xI")
FRAME = struct.Struct("<II")
HEAD = struct.Struct("<IHHQ")
DATA = struct.Struct("<II16s16s16sBBHH2xQHB?4xQQQB7xQI4xQQ")
GAP = struct.Struct("<QQII")

MAGIC = 0x3143455246504245
KIND_DATA, KIND_GAP, KIND_END = 1, 2, 3
TCP, UDP = 6, 17
SENT, RECEIVED = 0, 1
REQUEST, RESPONSE = 1, 2

PROTOCOLS = {0: "none", 20: "HTTP/1", 21: "HTTP/2", 40: "Dubbo", 60: "MySQL", 80: "Redis",
             100: "Kafka", 120: "DNS"}

Record = collections.namedtuple(
    "Record", "seq process_id thread_id process_name raddr laddr addr_len protocol rport lport "
    "socket_id l7 msg_type need_reconfirm tcp_seq trace_id timestamp direction syscall_len "
    "cap_len cap_seq cap_data payload")
Gap = collections.namedtuple("Gap", "seq count timestamp cause reserved")


def read(path):
    """Every record, and every gap, in the order of the ring."""
    with open(path, "rb") as file:
        content = file.read()
    magic, _, at, _, _, _ = HEADER.unpack_from(content)
    check(magic == MAGIC, f"{path} is no recorded trace")
    records, gaps = [], []
    while at + FRAME.size <= len(content):
        size, _ = FRAME.unpack_from(content, at)
        at += FRAME.size
        if at + size > len(content):
            break  # still being written
        _, kind, _, seq = HEAD.unpack_from(content, at)
        body = at + HEAD.size
        if kind == KIND_DATA:
            fields = DATA.unpack_from(content, body)
            cap_len, start = fields[-3], body + DATA.size
            records.append(Record(seq, *fields, content[start:start + cap_len]))
        elif kind == KIND_GAP:
            gaps.append(Gap(seq, *GAP.unpack_from(content, body)))
        at += size
    return records, gaps


def end_frame(records, gaps=0, ended_us=0):
    """The frame that says that a file is whole."""
    body = struct.pack("<IHHQQQQ", 40, KIND_END, 0, records, gaps, ended_us, 0)
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def record_frame(seq=0, process_id=1, name=b"name", local=("127.0.0.1", 1), remote=("127.0.0.1", 2),
                 socket_id=1, l7=20, msg_type=REQUEST, tcp_seq=1, trace_id=0, timestamp=1,
                 direction=SENT, cap_seq=0, payload=b""):
    """The frame of a record over TCP and IPv4, as one wants it."""
    def address(end):
        return socket.inet_aton(end[0]) + bytes(12)
    data = DATA.pack(process_id, process_id, name, address(remote), address(local), 4, TCP,
                     remote[1], local[1], socket_id, l7, msg_type, False, tcp_seq, trace_id,
                     timestamp, direction, len(payload), len(payload), cap_seq, 0)
    size = (HEAD.size + DATA.size + len(payload) + 7) // 8 * 8
    body = (HEAD.pack(size, KIND_DATA, 0, seq) + data + payload).ljust(size, b"\0")
    return FRAME.pack(size, zlib.crc32(body)) + body


def write(path, frames, cap_bytes=16384):
    """A whole file of these frames."""
    head = struct.pack("<QIIQI32x", MAGIC, 2, HEADER.size, 1, cap_bytes)
    with open(path, "wb") as file:
        file.write(head + struct.pack("<I", zlib.crc32(head)) + b"".join(frames)
                   + end_frame(len(frames)))


def name_of(record):
    return record.process_name.split(b"\0")[0].decode("latin-1")


def brief(record):
    """A record in one line, for messages."""
    return (f"{name_of(record)}[{record.process_id}] {record.lport}"
            f"{'->' if record.direction == SENT else '<-'}{record.rport} "
            f"{PROTOCOLS.get(record.l7, record.l7)} type={record.msg_type} "
            f"reconfirm={record.need_reconfirm} seq={record.tcp_seq} len={record.syscall_len} "
            f"cap_seq={record.cap_seq} {record.payload[:40]!r}")
