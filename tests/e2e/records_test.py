# SPDX-License-Identifier: Apache-2.0
"""ebpfctl record, tail and pcap: real servers, live and from a file."""

import json
import os
import signal
import stat

import pcapng
import servers
import trace_file
from lib import (check, check_equal, enter_own_network, foreign, main, mount_small_disk, program,
                 wait_until)

# Ports that nobody else uses: the producer sees the whole machine.
HTTP, REDIS, MYSQL, DNS = 28471, 26473, 23477, 25479
DATA = os.path.join(os.path.dirname(__file__), "../data")
PORTS = [("tcp", HTTP, "http"), ("tcp", REDIS, "resp"), ("tcp", MYSQL, "mysql"),
         ("udp", DNS, "dns")]


def ctl(bench, *arguments):
    return [program("ebpfctl"), "--socket", bench.socket, *arguments]


def attach(bench, name, *arguments):
    """Starts a command that reads the ring, and waits until it does."""
    process = bench.start(name, ctl(bench, *arguments))

    def maps_the_ring():
        check(process.running(), f"{name} ended: {process.stderr()}")
        with open(f"/proc/{process.pid}/maps", encoding="utf-8") as maps:
            return "/memfd:" in maps.read()
    wait_until(maps_the_ring, 10, f"{name} attaches")
    return process


def start_servers(bench):
    servers.start_nginx(bench, HTTP)
    servers.start_mariadb(bench, MYSQL)
    folder = servers.folder_of(bench, "redis")
    servers.wait_listening(bench.start("redis-server", [
        foreign("redis-server"), "--bind", servers.HOST, "--port", str(REDIS), "--dir", folder,
        "--save", "", "--appendonly", "no", "--protected-mode", "no"]), REDIS)
    servers.wait_listening(bench.start("dnsmasq", [
        foreign("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
        "--no-hosts", f"--listen-address={servers.HOST}", "--bind-interfaces", f"--port={DNS}",
        "--address=/example.test/192.0.2.7", "--user=root", "--group=root",
        f"--pid-file={bench.path('dnsmasq.pid')}"]), DNS)


def make_traffic(bench):
    url = f"http://{servers.HOST}:{HTTP}"
    redis = [foreign("redis-cli"), "-h", servers.HOST, "-p", str(REDIS)]
    mysql = [foreign("mariadb"), "--no-defaults", "-h", servers.HOST, "-P", str(MYSQL), "-u",
             "root", "--protocol=tcp", "--skip-ssl"]
    servers.curl(bench, f"{url}/echo/[1-20]")
    servers.curl(bench, f"{url}/large")
    for command in ("set key value", "get key", "incr number"):
        bench.run([*redis, *command.split()])
    for number in range(3):
        bench.run([*mysql, "-e", f"SELECT {number} + 1, REPEAT('x', 2000)"])
    bench.run([foreign("dig"), f"@{servers.HOST}", "-p", str(DNS), "example.test", "A"])
    servers.curl(bench, f"{url}/echo/the-end")


def json_lines(process):
    return [json.loads(line) for line in process.stdout().splitlines()]


def end_in_order(*processes):
    for process in processes:
        check_equal(process.stop(signal.SIGINT), 0,
                    f"exit code of {process.name} after SIGINT ({process.stderr()})")


def check_conversations(bench, path):
    capture = pcapng.Capture(bench, path, PORTS)
    capture.check_clean()
    requests = capture.fields("http.request", "http.request.uri", "tcp.stream", "frame.comment")
    uris = [uri for uri, _, _ in requests]
    wanted = [f"/echo/{number}" for number in range(1, 21)] + ["/large", "/echo/the-end"]
    check_equal(uris, wanted, "requests that tshark finds")
    check_equal(capture.count("http.response.code == 200"), len(wanted), "responses")
    _, stream, comment = requests[6]
    text = capture.follow(stream)
    for number in range(1, 21):
        check(f"GET /echo/{number} HTTP/1.1" in text and f"you asked for /echo/{number}\n" in text,
              f"exchange {number} of the stream that tshark follows")
    queries = [query for query, in capture.fields("mysql.query", "mysql.query")]
    check(sum("REPEAT" in query for query in queries) == 3, f"MySQL queries: {queries}")
    check(capture.count("resp") >= 6, "Redis commands and answers")
    names = capture.fields("dns", "dns.qry.name", "dns.flags.response")
    check_equal(names, [["example.test", "0"], ["example.test", "1"]], "DNS query and answer")
    check(" sock=" in comment and " trace=" in comment, f"comment: {comment}")
    check(comment.startswith(("curl[", "nginx[")), f"the process in the comment: {comment}")
    return capture


def what_came_live_is_in_the_file_and_in_the_capture(bench):
    bench.producer("--perf-pages", "1024")
    start_servers(bench)
    trace, live = bench.path("trace.ebpfrec"), bench.path("live.pcapng")
    ports = ["--port", f"{HTTP},{REDIS},{MYSQL},{DNS}"]
    record = attach(bench, "record", "record", trace, *ports)
    pcap = attach(bench, "pcap", "pcap", live, *ports)
    tail = attach(bench, "tail", "tail", "-o", "json", *ports)
    make_traffic(bench)
    answer = "you asked for /echo/the-end"
    wait_until(lambda: tail.stdout().count(answer) == 2, 10, "the last answer, at both ends")
    wait_until(lambda: len(trace_file.read(trace)[0]) == len(json_lines(tail)), 10,
               "as many records in the file")

    def captured():
        with open(live, "rb") as file:
            return answer.encode() in file.read()
    wait_until(captured, 10, "the last answer in the capture")
    end_in_order(record, pcap, tail)

    check_equal(stat.S_IMODE(os.stat(trace).st_mode), 0o600, "mode of the recording")
    check_equal(stat.S_IMODE(os.stat(live).st_mode), 0o600, "mode of the capture")
    records, gaps = trace_file.read(trace)
    check_equal(gaps, [], "gaps")
    told = [(line["socket_id"], line["cap_seq"]) for line in json_lines(tail)]
    check_equal([(record.socket_id, record.cap_seq) for record in records], told,
                "records in the file and those of tail")
    again = bench.run(ctl(bench, "tail", "--from", trace, "-o", "json"))
    check_equal(again.stdout, tail.stdout(), "the file, printed")
    check_equal(again.stderr, "", "nothing to complain about: the file is whole")

    from_file = bench.path("file.pcapng")
    bench.run(ctl(bench, "pcap", from_file, "--from", trace))
    for path in (live, from_file):
        capture = check_conversations(bench, path)
    check_equal(pcapng.statistics(from_file)[0],
                {pcapng.RECEIVED: len(records), pcapng.DROPPED: 0, pcapng.DROPPED_BY_OS: 0},
                "statistics of the interface")
    check_equal(pcapng.statistics(live)[0][pcapng.DROPPED], 0, "losses of the live capture")
    # 1 MiB in few calls, of which 512 bytes each are known: cut packets, but no hole.
    sizes = capture.fields("frame.cap_len < frame.len", "frame.len")
    check(sum(int(size) for size, in sizes) > 1 << 20, f"cut packets: {sizes}")

    both = bench.path("both.pcapng")
    bench.run(ctl(bench, "pcap", both, "--both-sides", "--from", trace))
    capture = pcapng.Capture(bench, both, PORTS)
    # The second time tshark takes a request for a repeated one, and does not look into it.
    interfaces = capture.fields('frame contains "GET /"', "frame.interface_id")
    check_equal([interfaces.count([which]) for which in "01"], [22, 22],
                "requests on the two interfaces")
    piped = bench.run(["sh", "-c", f"'{program('ebpfctl')}' pcap - --from '{trace}' | cmp - "
                       f"'{from_file}'"])
    check_equal(piped.stdout, "", "what goes to a pipe is what goes to a file")


def filters_choose(bench):
    sample = f"{DATA}/demo.ebpfrec"

    def lines(*options):
        done = bench.run(ctl(bench, "tail", "--from", sample, "-o", "json", *options))
        return [json.loads(line) for line in done.stdout.splitlines()]
    everything = lines()
    for options, wanted in (
            (["--comm", "nginx"], lambda one: one["process_name"] == "nginx"),
            (["--comm", "nginx", "--comm", "curl", "--direction", "snd"],
             lambda one: one["process_name"] in ("nginx", "curl") and one["direction"] == "send"),
            (["--proto", "http", "--msg-type", "response"],
             lambda one: one["l7_protocal_hint"] == 20 and one["msg_type"] == "response"),
            (["--pid", str(everything[0]["process_id"])],
             lambda one: one["process_id"] == everything[0]["process_id"]),
            (["--trace", str(everything[1]["syscall_trace_id_call"])],
             lambda one: one["syscall_trace_id_call"] == everything[1]["syscall_trace_id_call"])):
        chosen = [one for one in everything if wanted(one)]
        check(0 < len(chosen) < len(everything), f"{options} tries something")
        check_equal(lines(*options), chosen, " ".join(options))


def kafka_is_found_in_a_recording(bench):
    path = bench.path("kafka.pcapng")
    bench.run(ctl(bench, "pcap", path, "--from", f"{DATA}/kafka.ebpfrec"))
    capture = pcapng.Capture(bench, path, [("tcp", 6381, "kafka")])
    check(capture.count("kafka") >= 70, "Kafka requests and responses")
    check_equal(capture.count("tcp.analysis.lost_segment || tcp.analysis.retransmission"), 0,
                "holes and repeats")
    # tshark 4.0 is older than the recorded client: some versions are beyond it, nothing else.
    for info, in capture.fields("_ws.malformed", "_ws.expert.message"):
        check("Unsupported" in info or "API key" in info, f"malformed of our making: {info}")


def a_recording_that_was_killed_is_read_to_its_last_record(bench):
    producer = bench.producer()
    path = bench.path("killed.ebpfrec")
    record = attach(bench, "record", "record", path)
    bench.smoke(5)
    wait_until(lambda: os.path.getsize(path) > 10000, 10, "records are in the file")
    record.stop(signal.SIGKILL)
    producer.stop()
    done = bench.run(ctl(bench, "tail", "--from", path))
    check(len(done.stdout.splitlines()) > 10, "the records are shown")
    check("cut off" in done.stderr, f"the cut is told: {done.stderr!r}")


def a_full_disk_leaves_no_file_that_looks_whole(bench):
    producer = bench.producer()
    disk = bench.path("disk")
    mount_small_disk(disk, 64 * 1024)
    path = f"{disk}/trace.ebpfrec"
    # What else goes on on this host may fill the disk at once.
    record = bench.start("record", ctl(bench, "record", path))

    def ended():
        bench.smoke(5)
        return not record.running()
    wait_until(ended, 30, "the disk is full")
    check_equal(record.wait(), 1, "exit code")
    check("No space left on device" in record.stderr(), f"the reason: {record.stderr()!r}")
    check_equal(os.listdir(disk), ["trace.ebpfrec.part"], "files")
    kept = bench.run(ctl(bench, "tail", "--from", path + ".part"))
    check(kept.stdout and "cut off" in kept.stderr, f"what is kept is told to be cut: {kept.stderr}")
    producer.stop()
    done = bench.run(ctl(bench, "pcap", f"{disk}/capture", "--from", path + ".part"), wanted=1)
    check("No space left on device" in done.stderr, f"the reason: {done.stderr!r}")
    check(not os.path.exists(f"{disk}/capture"), "half a capture has its name")
    full = bench.run(ctl(bench, "pcap", "/dev/full", "--from", f"{DATA}/demo.ebpfrec"), wanted=1)
    check("No space left on device" in full.stderr, f"the reason: {full.stderr!r}")


def limits_end_a_recording(bench):
    producer = bench.producer("--replay", f"{DATA}/demo.ebpfrec", "--speed", "0", "--loop",
                              "--ring-size", "1024")
    for options, enough in ((["--count", "300"], lambda told: told["records"] == 300),
                            (["--bytes", "50000"], lambda told: told["bytes"] >= 50000),
                            (["--seconds", "0.3"], lambda told: told["records"] > 0)):
        told = bench.ctl("record", bench.path("limited"), "--force", *options)
        check(enough(told), f"{options}: {told}")
        records, _ = trace_file.read(bench.path("limited"))
        check_equal(len(records), told["records"], "records in the file")
    end_in_order(producer)


if __name__ == "__main__":
    enter_own_network()
    main(what_came_live_is_in_the_file_and_in_the_capture, filters_choose,
         kafka_is_found_in_a_recording, a_recording_that_was_killed_is_read_to_its_last_record,
         a_full_disk_leaves_no_file_that_looks_whole, limits_end_a_recording)
