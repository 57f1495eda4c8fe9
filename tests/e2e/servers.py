# SPDX-License-Identifier: Apache-2.0
"""Real servers and clients of the protocols that we know, each in a folder of its own.

Each function starts a server on (HOST, port), and talks to it as people do, until all is said.
Everything listens on an address that nobody else uses: who reads a trace knows our records by it.
"""

import os
import socket
import struct

from lib import check, check_equal, foreign, wait_until

HOST = "127.77.0.1"


def folder_of(bench, name):
    folder = bench.path(name)
    os.makedirs(folder)
    return folder


def write(path, content):
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def wait_listening(server, port, seconds=30, any_form=False):
    """Not by connecting: that would be traffic. /proc shows who listens; the JVM does so through
    an IPv6 socket."""
    address = struct.unpack("=I", socket.inet_aton(HOST))[0]
    forms = [("/proc/net/tcp", f" {address:08X}:{port:04X} 00000000:0000 0A")]
    if any_form:
        forms.append(("/proc/net/tcp6", f":{port:04X} {'0' * 32}:0000 0A"))

    def listens():
        check(server.running(), f"{server.name} ended: {server.stderr()[-2000:]}")
        for path, wanted in forms:
            with open(path, encoding="ascii") as table:
                if wanted in table.read():
                    return True
        return False
    wait_until(listens, seconds, f"{server.name} listens on {HOST}:{port}")
    return server


def curl(bench, *arguments):
    return bench.run([foreign("curl"), "-sS", "--noproxy", "*", "-o", "/dev/null", *arguments])


# ---- HTTP/1 ----

def start_nginx(bench, port, name="nginx", server_lines="", http_lines="", workers=1,
                event_lines=""):
    prefix = folder_of(bench, name)
    os.makedirs(f"{prefix}/files")
    write(f"{prefix}/files/large", os.urandom(1 << 20))
    write(f"{prefix}/files/index.html", "<p>hello</p>\n" * 50)
    temp = "\n".join(f"  {kind}_temp_path {prefix}/{kind};"
                     for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    write(f"{prefix}/nginx.conf", f"""daemon off;
worker_processes {workers};
user root;
pid {prefix}/pid;
error_log {prefix}/error.log;
events {{ {event_lines} }}
http {{
  access_log off;
  keepalive_requests 1000000;
  sendfile off;
{temp}
{http_lines}
  server {{
    listen {HOST}:{port};
    root {prefix}/files;
    location /echo {{ return 200 "you asked for $request_uri\\n"; }}
{server_lines}
  }}
}}
""")
    server = bench.start(name, [foreign("nginx"), "-e", f"{prefix}/error.log", "-p", prefix,
                                "-c", f"{prefix}/nginx.conf"])
    return wait_listening(server, port)


def http1(bench, port):
    start_nginx(bench, port)
    url = f"http://{HOST}:{port}"
    curl(bench, f"{url}/echo/[1-300]")
    curl(bench, "-H", "Connection: close", f"{url}/echo/[1-40]")
    curl(bench, f"{url}/large", f"{url}/nothing", f"{url}/")
    body = write(bench.path("http1.body"), os.urandom(100000))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        curl(bench, "-X", method, "--data-binary", f"@{body}", f"{url}/echo/[1-5]")
    curl(bench, "-I", f"{url}/echo/[1-5]")
    curl(bench, "-X", "OPTIONS", f"{url}/echo/[1-5]")
    curl(bench, "--http1.0", f"{url}/echo/[1-5]")


# ---- HTTP/2, without TLS ----

def http2(bench, port):
    files = folder_of(bench, "nghttpd-files")
    write(f"{files}/index.html", "<p>hello</p>\n" * 50)
    write(f"{files}/large", os.urandom(300000))
    server = bench.start("nghttpd", [foreign("nghttpd"), "--no-tls", "-a", HOST, "-d", files,
                                     "--echo-upload", str(port)])
    wait_listening(server, port)
    url = f"http://{HOST}:{port}"
    bench.run([foreign("h2load"), "-n", "1000", "-c", "4", "-m", "10", f"{url}/index.html"])
    bench.run([foreign("h2load"), "-n", "200", "-c", "2", "-m", "1", f"{url}/nothing"])
    prior = "--http2-prior-knowledge"
    body = write(bench.path("http2.body"), os.urandom(30000))
    # One request each: curl 7.88 does not use such a connection again.
    curl(bench, prior, f"{url}/large")
    for at in range(10):
        curl(bench, prior, f"{url}/index.html?{at}")
        curl(bench, prior, "--data-binary", f"@{body}", f"{url}/echo?{at}")


# ---- MySQL ----

def start_mariadb(bench, port):
    data = folder_of(bench, "mariadb")
    server = bench.start("mariadbd", [
        foreign("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={data}/socket",
        f"--pid-file={data}/pid", f"--port={port}", f"--bind-address={HOST}", "--user=root",
        "--skip-grant-tables", "--skip-networking=0", "--skip-log-bin", "--skip-name-resolve",
        "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--performance-schema=off",
        "--use-stat-tables=never", "--lc-messages-dir=/usr/share/mysql"])
    return wait_listening(server, port)


MYSQL_SCRIPT = """
CREATE DATABASE shop; USE shop;
CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(80), price DECIMAL(10,2), note TEXT);
{inserts}
SELECT * FROM items WHERE id < 10;
SELECT COUNT(*), SUM(price) FROM items;
SELECT * FROM nothing_like_that;
SELEC nonsense;
UPDATE items SET price = price + 1 WHERE id % 2 = 0;
PREPARE pick FROM 'SELECT * FROM items WHERE id = ?';
{executes}
SELECT a.id, b.note FROM items a JOIN items b WHERE b.id < 20;
SHOW TABLES; SHOW VARIABLES; EXPLAIN SELECT * FROM items;
BEGIN; DELETE FROM items WHERE id > 200; ROLLBACK;
DROP DATABASE shop;
"""


MYSQL_CAPABILITIES = 0x00000001 | 0x00000200 | 0x00008000 | 0x00080000


def mysql_packet(body, number=0):
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def mysql_login():
    login = struct.pack("<IIB23x", MYSQL_CAPABILITIES, 1 << 24, 33) + b"root\0\0"
    return mysql_packet(login + b"mysql_native_password\0", 1)


def mysql_query(text):
    return mysql_packet(b"\x03" + text)


class MysqlClient:
    """The binary protocol for prepared statements, which the command-line client does not speak.
    As many libraries do, it reads the 4 bytes of a packet's head with a call of their own."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), 10)
        self._packet()
        self.socket.sendall(mysql_login())
        check(self._packet()[0] in (0x00, 0xfe), "mariadb lets us in")

    def _exactly(self, count):
        taken = b""
        while len(taken) < count:
            more = self.socket.recv(count - len(taken))
            check(more, "mariadb ended the connection")
            taken += more
        return taken

    def _packet(self):
        head = self._exactly(4)
        return self._exactly(int.from_bytes(head[:3], "little"))

    def _send(self, body, number=0):
        self.socket.sendall(mysql_packet(body, number))

    def _until_eof(self):
        while True:
            packet = self._packet()
            if packet[0] == 0xfe and len(packet) < 9 or packet[0] == 0xff:
                return

    def command(self, code, body=b""):
        self._send(bytes([code]) + body)

    def prepare(self, text):
        self.command(0x16, text)
        answer = self._packet()
        check_equal(answer[0], 0, "COM_STMT_PREPARE")
        statement, columns, parameters = struct.unpack_from("<IHH", answer, 1)
        for count in (parameters, columns):
            if count:
                self._until_eof()
        return statement

    def execute(self, statement, number):
        self.command(0x17, struct.pack("<IBIBBHI", statement, 0, 1, 0, 1, 3, number))
        if self._packet()[0] not in (0x00, 0xff):
            self._until_eof()
            self._until_eof()

    def close(self):
        self.command(0x01)
        self.socket.close()


def mysql(bench, port):
    start_mariadb(bench, port)
    client = [foreign("mariadb"), "--no-defaults", "-h", HOST, "-P", str(port), "-u", "root",
              "--protocol=tcp", "--skip-ssl"]
    inserts = "\n".join(f"INSERT INTO items VALUES ({at}, 'item {at}', {at}.5, REPEAT('n', {at}));"
                        for at in range(300))
    executes = "\n".join(f"SET @id = {at}; EXECUTE pick USING @id;" for at in range(40))
    script = write(bench.path("mysql.sql"),
                   MYSQL_SCRIPT.format(inserts=inserts, executes=executes))
    bench.run([*client, "--force", "-e", f"source {script}"], wanted=None)
    for _ in range(10):
        bench.run([*client, "-e", "SELECT VERSION(); SELECT NOW()"])
    for _ in range(5):
        session = MysqlClient(port)
        statement = session.prepare(b"SELECT ? + 1")
        for number in range(30):
            session.execute(statement, number)
        session.command(0x0e)
        session._packet()
        session.close()


# ---- Redis ----

def start_redis(bench, port, name="redis"):
    folder = folder_of(bench, name)
    server = bench.start(name, [
        foreign("redis-server"), "--bind", HOST, "--port", str(port), "--dir", folder,
        "--save", "", "--appendonly", "no", "--daemonize", "no", "--protected-mode", "no"])
    return wait_listening(server, port)


def redis(bench, port):
    start_redis(bench, port)
    cli = [foreign("redis-cli"), "-h", HOST, "-p", str(port)]
    subscriber = bench.start("redis-subscriber", [*cli, "subscribe", "news"])
    for command in ("set a 1", "get a", "get nothing", "incr a", "lpush l 1 2 3", "lrange l 0 -1",
                    "hset h f v", "hgetall h", "nonsense", "incr l", "ping", "info", "scan 0",
                    "config get *", "zadd z 1 x", "zrange z 0 -1 withscores", "del a"):
        bench.run([*cli, *command.split()], wanted=None)
    bench.run([*cli, "-3", "hgetall", "h"])
    wait_until(lambda: "subscribe" in subscriber.stdout(), 10, "the subscriber subscribes")
    for number in range(30):
        bench.run([*cli, "publish", "news", f"message {number}"])
    commands = b"".join(f"SET key:{at} {'v' * (at % 300)}\r\n".encode() for at in range(2000))
    resp = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" %
                    (len(key), key, len(value), value)
                    for _, key, value in (line.split(b" ") for line in commands.splitlines()))
    bench.run(["sh", "-c", f"'{foreign('redis-cli')}' -h {HOST} -p {port} --pipe < '"
               + write(bench.path("redis.pipe"), resp) + "'"])
    load = [foreign("redis-benchmark"), "-h", HOST, "-p", str(port), "-q", "-c", "5"]
    bench.run([*load, "-n", "500", "-t", "set,get,incr,lpush,lrange_100,mset,zadd"])
    bench.run([*load, "-n", "2000", "-P", "16", "-t", "set,get"])
    subscriber.stop()


# ---- DNS, over UDP and TCP ----

def start_dnsmasq(bench, port):
    server = bench.start("dnsmasq-matrix", [
        foreign("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
        "--no-hosts", f"--listen-address={HOST}", "--bind-interfaces", f"--port={port}",
        "--cache-size=0", "--address=/example.test/192.0.2.7", "--user=root", "--group=root",
        "--address=/six.test/2001:db8::1", "--txt-record=text.test," + "t" * 200,
        "--log-facility=-", f"--pid-file={bench.path('dnsmasq-matrix.pid')}"])
    return wait_listening(server, port)


def dns(bench, port):
    start_dnsmasq(bench, port)
    lines = [f"{name} {kind}" for name in ("example.test", "a.rather.long.name.example.test",
                                           "six.test", "text.test", "no.such.name", "x" * 63 + ".test")
             for kind in ("A", "AAAA", "TXT", "MX", "NS", "HTTPS")]
    batch = write(bench.path("dig.batch"), "\n".join(lines * 3) + "\n")
    dig = [foreign("dig"), f"@{HOST}", "-p", str(port), "+tries=1", "+timeout=30"]
    bench.run([*dig, "-f", batch])
    # dnsmasq reads the two bytes of a length one by one: the first query of a connection over
    # TCP is recognised by its answer only, so most of them share one connection.
    bench.run([*dig, "+tcp", "+keepopen", "-f", batch])
    bench.run([*dig, "+tcp", "example.test", "A"])
    bench.run([*dig, "-x", "2001:db8::1"])
