# SPDX-License-Identifier: Apache-2.0
"""Traffic that is none of our protocols, and must not be taken for one of them."""

import contextlib
import gzip
import io
import os
import pwd
import random
import smtplib
import socket
import struct
import subprocess
import threading
from multiprocessing import connection

from lib import foreign, wait_until
from servers import HOST, curl, folder_of, wait_listening, write


@contextlib.contextmanager
def serving(port, handle, count):
    """Answers `count` connections in a thread of our own, one after another."""
    listener = socket.create_server((HOST, port))

    def run():
        for _ in range(count):
            peer, _ = listener.accept()
            peer.settimeout(10)
            with peer, contextlib.suppress(ConnectionError):
                handle(peer)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(20)
        listener.close()


def dial(port):
    return socket.create_connection((HOST, port), 10)


def tls(bench, port):
    folder = folder_of(bench, "tls")
    openssl = foreign("openssl")
    bench.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-keyout", f"{folder}/key", "-out", f"{folder}/cert", "-days", "2",
               "-subj", "/CN=localhost"])
    server = bench.start("s_server", [openssl, "s_server", "-accept", f"{HOST}:{port}", "-www",
                                      "-key", f"{folder}/key", "-cert", f"{folder}/cert"])
    wait_listening(server, port)
    for version in ("--tls-max 1.2", "--tls-max 1.3"):
        for _ in range(15):
            curl(bench, "-k", "--http1.1", *version.split(), f"https://{HOST}:{port}/")
    bench.run([openssl, "s_client", "-connect", f"{HOST}:{port}"], wanted=None)


def ssh(bench, port):
    folder = folder_of(bench, "ssh")
    os.makedirs("/run/sshd", exist_ok=True)
    for key in ("host", "user"):
        bench.run([foreign("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}"])
    write(f"{folder}/config", f"""ListenAddress {HOST}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
""")
    server = bench.start("sshd", [foreign("sshd"), "-D", "-f", f"{folder}/config"])
    wait_listening(server, port)
    for _ in range(5):
        bench.run([foreign("ssh"), "-F", "none", "-p", str(port), "-i", f"{folder}/user", "-o",
                   "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known",
                   "-o", "BatchMode=yes", HOST, "seq 1 20000"], wanted=None)


def postgresql(bench, port):
    programs = "/usr/lib/postgresql/15/bin"
    initdb, postgres = foreign(f"{programs}/initdb"), foreign(f"{programs}/postgres")
    nobody = pwd.getpwnam("nobody")
    os.chmod(bench.folder, 0o711)
    folder = folder_of(bench, "postgresql")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    as_nobody = [foreign("setpriv"), "--reuid", str(nobody.pw_uid), "--regid",
                 str(nobody.pw_gid), "--clear-groups"]
    bench.run([*as_nobody, initdb, "-D", f"{folder}/data", "-U", "postgres", "-A", "trust",
               "--no-sync", "--locale=C"])
    server = bench.start("postgres", [*as_nobody, postgres, "-D", f"{folder}/data", "-h", HOST,
                                      "-p", str(port), "-k", "", "-F"])
    wait_listening(server, port)
    psql = [foreign("psql"), "-X", "-q", "-U", "postgres", "-h", HOST, "-p", str(port)]
    wait_until(lambda: bench.run([*psql, "-c", "SELECT 1"], wanted=None).returncode == 0, 20,
               "postgres answers")
    queries = ["SELECT version()", "SELECT * FROM pg_class", "SELECT nonsense",
               "CREATE TABLE t (a int, b text)", "INSERT INTO t SELECT i, repeat('x', i) FROM "
               "generate_series(1, 500) i", "SELECT * FROM t", "COPY t TO STDOUT",
               "PREPARE p AS SELECT $1 + 1; EXECUTE p(1)", "BEGIN; DELETE FROM t; ROLLBACK"]
    commands = [word for query in queries for word in ("-c", query)]
    for _ in range(3):
        bench.run([*psql, *commands], wanted=None)


def memcached(bench, port):
    server = bench.start("memcached", [foreign("memcached"), "-u", "root", "-l", HOST, "-p",
                                       str(port), "-U", "0"])
    wait_listening(server, port)
    with dial(port) as client:
        for at in range(60):
            for command in (b"set key%d 0 0 %d\r\n%s\r\n" % (at, at, b"v" * at),
                            b"get key%d\r\n" % at, b"incr key%d 1\r\n" % at,
                            b"gets key%d nothing\r\n" % at, b"delete key%d\r\n" % at,
                            b"mg key%d v\r\n" % at, b"stats\r\n", b"version\r\n"):
                client.sendall(command)
                client.recv(65536)
    with dial(port) as client:  # the binary protocol
        for at in range(60):
            key, value = b"key%d" % at, b"v" * at
            for opcode, extras, body in ((1, bytes(8), value), (0, b"", b""), (10, b"", b""),
                                         (11, b"", b"")):
                name = key if opcode < 2 else b""
                client.sendall(struct.pack(">BBHBBHIIQ", 0x80, opcode, len(name), len(extras), 0,
                                           0, len(extras) + len(name) + len(body), at, 0)
                               + extras + name + body)
                client.recv(65536)


def answer_smtp(peer):
    peer.sendall(b"220 mail.example.test ESMTP\r\n")
    lines = peer.makefile("rb")
    for line in lines:
        word = line[:4].upper()
        if word == b"DATA":
            peer.sendall(b"354 go on\r\n")
            while lines.readline() not in (b".\r\n", b""):
                pass
        elif word == b"EHLO":
            peer.sendall(b"250-mail.example.test\r\n250-8BITMIME\r\n250 SIZE 1000000\r\n")
            continue
        elif word == b"QUIT":
            peer.sendall(b"221 bye\r\n")
            return
        peer.sendall(b"250 OK\r\n")


def smtp(_, port):
    with serving(port, answer_smtp, 20):
        for at in range(20):
            with smtplib.SMTP(HOST, port, local_hostname="client.example.test") as client:
                client.sendmail("a@example.test", ["b@example.test", "c@example.test"],
                                f"Subject: {at}\r\n\r\n" + "A line of text.\r\n" * at * 20)


def read_all(peer):
    while peer.recv(65536):
        pass


def random_bytes(_, port):
    generator = random.Random(20250101)

    def answer(peer):
        while peer.recv(65536):
            peer.sendall(generator.randbytes(generator.randint(1, 2000)))
    asking = random.Random(20250102)
    with serving(port, answer, 200):
        for _ in range(200):
            with dial(port) as client:
                for _ in range(10):
                    client.sendall(asking.randbytes(asking.randint(1, 2000)))
                    client.recv(65536)


def random_datagrams(_, port):
    generator = random.Random(20250103)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind((HOST, port))
        client.connect((HOST, port))
        for _ in range(1000):
            client.send(generator.randbytes(generator.randint(1, 1400)))
            server.recv(2048)


def gzip_stream(_, port):
    generator = random.Random(20250104)
    words = [f"word{number}" for number in range(3000)]
    with serving(port, read_all, 20):
        for _ in range(20):
            text = " ".join(generator.choices(words, k=20000)).encode()
            stream = io.BytesIO(gzip.compress(text))
            with dial(port) as client:
                while part := stream.read(generator.randint(1, 4000)):
                    client.sendall(part)


def length_prefixed(_, port):
    """Pickled Python objects behind a big-endian length, as multiprocessing sends them."""
    listener = connection.Listener((HOST, port), authkey=b"secret")

    def run():
        for _ in range(10):
            with listener.accept() as peer, contextlib.suppress(EOFError):
                while True:
                    peer.send({"answer": peer.recv()})
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for _ in range(10):
        with connection.Client((HOST, port), authkey=b"secret") as client:
            for at in range(30):
                client.send(["request", at, "x" * at * 5])
                client.recv()
    thread.join(10)
    listener.close()


def text_lines(_, port):
    """A chat in words that other protocols use."""
    lines = ["GET the milk", "POST a letter", "HTTP is fine", "+1", "-1", ":)", "$5 please", "*",
             "PRI", "ping", "HELLO", "QUIT", "{\"method\": \"GET /\"}", "<xml/>", "INFO all"]

    def answer(peer):
        for line in peer.makefile("rb"):
            peer.sendall(b"you said: " + line)
    with serving(port, answer, 10):
        for at in range(10):
            with dial(port) as client:
                for line in lines[at % len(lines):] + lines[:at % len(lines)]:
                    client.sendall(line.encode() + b"\n")
                    client.recv(65536)
