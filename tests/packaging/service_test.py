# SPDX-License-Identifier: Apache-2.0
"""The service as its unit starts it: the installed program, with the capabilities and the view of
the file system that the unit leaves it, captures; and the group, not the rest, may look.

    service_test.py BUILD_FOLDER
"""

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))
import clean_root  # noqa: E402
import lib  # noqa: E402
from clean_root import CleanRoot  # noqa: E402

UNIT = "/usr/lib/systemd/system/ebpf-producer.service"
NEEDED = ("ebpf-producer", "ebpfctl", "libebpf0")


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802: the name is http.server's
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def settings(root):
    lines = root.read(UNIT).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def start_service(root, unit, folder):
    """What systemd would do of the unit."""
    for name in ("ProtectHome", "PrivateTmp", "NoNewPrivileges"):
        lib.check_equal(unit[name], "yes", name)
    lib.check_equal(unit["ProtectSystem"], "strict", "ProtectSystem")
    runtime = f"{root.path}/run/{unit['RuntimeDirectory']}"
    os.makedirs(runtime, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "runtime", runtime], check=True)
    root.protect()
    rights = ["-all"] + ["+" + name.removeprefix("CAP_").lower()
                         for name in unit["CapabilityBoundingSet"].split()]
    command = ["setpriv", f"--bounding-set={','.join(rights)}", "--inh-caps=-all",
               "--no-new-privs", *unit["ExecStart"].split()]
    return lib.Producer("service", root.command(*command), folder).wait_ready()


def effective_rights(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


def requests(path):
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            client.request("GET", path)
            client.getresponse().read()
            client.close()
        finally:
            server.shutdown()
            thread.join()


def captures(root, folder):
    command = root.command("ebpf-tail", "-o", "json", "--from", "oldest", user="nobody:libebpf")
    tail = lib.Agent("tail", command, folder)
    path = f"/service-{os.getpid()}"
    try:
        def seen():
            lib.check(tail.running(), f"ebpf-tail ended: {tail.stderr()}")
            return [record for record in tail.records() if path.encode() in lib.payload(record)]
        deadline = time.monotonic() + 20
        while not seen():
            lib.check(time.monotonic() < deadline, "the request is not in the trace")
            requests(path)
            time.sleep(0.2)
    finally:
        tail.stop()


def test(root, folder):
    unit = settings(root)
    service = start_service(root, unit, folder)
    try:
        wanted = len(unit["CapabilityBoundingSet"].split())
        held = effective_rights(service.pid).bit_count()  # fewer where this machine has fewer
        lib.check(0 < held <= wanted, f"{held} capabilities, of {wanted} in the unit")
        captures(root, folder)
        shown = json.loads(root.run("ebpfctl", "-o", "json", "tracer", "show",
                                    user="nobody:libebpf"))
        lib.check_equal(shown["tracer_state"], "running", "tracer_state")
        root.run("ebpfctl", "tracer", "show", user="nobody:nogroup", wanted=4)
    finally:
        code = service.stop()
    lib.check_equal(code, 0, f"exit code of the service ({service.stderr()})")


def main(build):
    packages = [path for path in clean_root.packages_of(build)
                if os.path.basename(path).split("_")[0] in NEEDED]
    root = CleanRoot()
    subprocess.run(["mount", "-t", "tracefs", "tracefs", f"{root.path}/sys/kernel/tracing"],
                   capture_output=True, check=False)  # raw tracepoints do without
    folder = f"{root.path}/../logs"
    os.mkdir(folder)
    try:
        root.run("dpkg", "-i", *root.copy_in(packages, "/tmp/packages"))
        test(root, folder)
    except lib.Skip as reason:
        clean_root.skip(reason)
    except lib.Failure as failure:
        sys.exit(f"FAILED: {failure}")
    finally:
        root.remove()


main(*sys.argv[1:])
