# SPDX-License-Identifier: Apache-2.0
"""What the server benches put load on: real servers, and what is asked of them."""

import servers
import server_load
from lib import foreign

PORT = 8080
HTTP_REQUEST = f"GET %s HTTP/1.1\r\nHost: {servers.HOST}\r\nUser-Agent: load\r\n\r\n"


class Workload:
    """records: what each request must become at least, on the client's and the server's side."""

    name = title = client = None
    port = PORT
    connections = 50
    batch = 1        # requests that are sent with one call
    udp = False
    login = b""
    path = None
    server_records = 2.0

    def start(self, bench):
        """Starts the server; gives its process."""
        raise NotImplementedError

    def flat_out(self, bench, seconds, begin):
        return server_load.generator(bench, self, 0, seconds, begin)

    def flat_out_client(self):
        """The thread name of that client, as tools match it."""
        return (self.client or server_load.GENERATOR)[:15]


class Nginx(Workload):
    name, title, client = "nginx", "nginx, a small answer", "wrk"
    path = "/echo"

    @property
    def request(self):
        return HTTP_REQUEST % self.path

    def start(self, bench):
        server = servers.start_nginx(bench, self.port, name=self.name,
                                     event_lines="worker_connections 4096;")
        servers.write(f"{bench.path(self.name)}/files/16k", "0123456789abcde\n" * 1024)
        return server

    def flat_out(self, bench, seconds, begin):
        return server_load.wrk(bench, self, seconds, begin)


class NginxLarge(Nginx):
    name, title = "nginx-16k", "nginx, 16 KiB of body"
    path = "/16k"


class NginxMany(Nginx):
    name, title = "nginx-1000", "nginx, many connections"
    connections = 1000


class Redis(Workload):
    name, title, client = "redis", "Redis, one by one", "redis-benchmark"
    request = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:__rand_int__\r\n"
    requests_per_s = 40_000  # about what a CPU does, for a client that takes a number of them

    def start(self, bench):
        server = servers.start_redis(bench, self.port, name=self.name)
        bench.run([foreign("redis-cli"), "-h", servers.HOST, "-p", str(self.port), "set",
                   "key:__rand_int__", "v" * 100])
        return server

    def flat_out(self, bench, seconds, begin):
        requests = self.batch * int(self.requests_per_s * seconds)
        return server_load.redis_benchmark(bench, self, requests, begin)


class RedisPipelined(Redis):
    name, title = "redis-p16", "Redis, 16 requests at once"
    batch = 16
    server_records = 2.0 / 16
    requests_per_s = 20_000


class Mysql(Workload):
    name, title = "mysql", "MariaDB, a row by its key"
    connections = 16
    login = servers.mysql_login()
    request = servers.mysql_query(b"SELECT name, price, note FROM shop.items WHERE id = 7")

    def start(self, bench):
        server = servers.start_mariadb(bench, self.port)
        rows = ", ".join(f"({at}, 'item {at}', {at}.5, REPEAT('n', 100))" for at in range(100))
        bench.run([foreign("mariadb"), "--no-defaults", "-h", servers.HOST, "-P", str(self.port),
                   "-u", "root", "--protocol=tcp", "--skip-ssl", "-e",
                   "CREATE DATABASE shop; CREATE TABLE shop.items (id INT PRIMARY KEY, "
                   "name VARCHAR(80), price DECIMAL(10,2), note TEXT); "
                   f"INSERT INTO shop.items VALUES {rows}"])
        return server


class Dns(Workload):
    name, title, client = "dns", "dnsmasq, queries over UDP", "dnsperf"
    udp = True
    request = bytes.fromhex("0000" "0100" "0001" "0000" "0000" "0000"
                            "03") + b"www\x07example\x04test\0" + bytes.fromhex("00010001")

    def start(self, bench):
        return servers.start_dnsmasq(bench, self.port)

    def flat_out(self, bench, seconds, begin):
        return server_load.dnsperf(bench, self, seconds, begin)


WORKLOADS = {one.name: one for one in (Nginx(), NginxLarge(), NginxMany(), Redis(),
                                       RedisPipelined(), Mysql(), Dns())}
