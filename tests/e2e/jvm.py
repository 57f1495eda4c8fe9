# SPDX-License-Identifier: Apache-2.0
"""A Kafka broker and a Dubbo provider on the JVM. Their jars come from Maven Central, by name
and checksum (tests/java/*.jars), into a cache of the user's."""

import hashlib
import os
import socket

from lib import Failure, Skip, foreign
from servers import HOST, folder_of, wait_listening, write

SOURCES = os.path.join(os.path.dirname(__file__), "../java")
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "libebpf-tests/maven")
CENTRAL = "https://repo1.maven.org/maven2"
SMALL_JVM = ["-XX:+UseSerialGC", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
# Dubbo goes to 127.0.0.1, whatever address of the loopback it is given.
DUBBO_ADDRESS = bytes([127, 0, 0, 1])
# Dubbo's serializations look into the JDK's own classes.
DUBBO_JVM = ["--add-opens=java.base/java.lang=ALL-UNNAMED",
             "--add-opens=java.base/java.math=ALL-UNNAMED",
             "-Ddubbo.application.serialize-check-status=DISABLE"]


def listed(name):
    """(checksum, path in the repository) of each jar of a list."""
    with open(f"{SOURCES}/{name}.jars", encoding="ascii") as lines:
        return [tuple(line.split()) for line in lines]


def is_whole(checksum, path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == checksum
    except FileNotFoundError:
        return False


def fetch(bench, paths):
    """Several tries each, all at once; what came in part is not kept."""
    command = [foreign("curl"), "-fsSL", "--parallel", "--create-dirs", "--retry", "8",
               "--retry-all-errors", "--retry-max-time", "120", "--connect-timeout", "15"]
    for path in paths:
        command += ["-o", f"{CACHE}/{path}", f"{CENTRAL}/{path}"]
    bench.run(command, seconds=180)


def class_path(bench, name):
    """The jars of a list. Downloads only in CI; elsewhere they are there, or the test is
    skipped."""
    jars = listed(name)
    missing = [path for checksum, path in jars if not is_whole(checksum, f"{CACHE}/{path}")]
    if missing and not os.environ.get("CI"):
        raise Skip(f"{len(missing)} jars of {name} are not in {CACHE}; set CI=1 to have them "
                   "downloaded from Maven Central")
    if missing:
        fetch(bench, missing)
    for checksum, path in jars:
        if not is_whole(checksum, f"{CACHE}/{path}"):
            raise Failure(f"{CENTRAL}/{path} is not the file that was listed")
    return ":".join(f"{CACHE}/{path}" for _, path in jars)


def java(folder, *arguments):
    """The start of a command. Names are looked up in a file only: here nobody answers."""
    hosts = write(f"{folder}/hosts", f"127.0.0.1 localhost {socket.gethostname()}\n"
                                     f"{HOST} server.test\n")
    return [foreign("java"), *SMALL_JVM, f"-Djdk.net.hosts.file={hosts}", *arguments]


def kafka(bench, port):
    """A broker that is its own controller, and clients."""
    jars, folder = class_path(bench, "kafka"), folder_of(bench, "kafka")
    config = write(f"{folder}/server.properties", f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{port + 1}
listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{port + 1}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.enable=false
""")
    command = java(folder, "-cp", jars)
    bench.run([*command, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAAAQ", "-c",
               config], seconds=120)
    broker = bench.start("kafka", [*command, "kafka.Kafka", config])
    wait_listening(broker, port, 120, any_form=True)
    bench.run([*command, f"{SOURCES}/KafkaTraffic.java", f"{HOST}:{port}"], seconds=240)


def dubbo(bench, port):
    """A provider and its consumers in one process."""
    jars, folder = class_path(bench, "dubbo"), folder_of(bench, "dubbo")
    bench.run([*java(folder, *DUBBO_JVM, "-cp", jars), f"{SOURCES}/DubboTraffic.java", HOST,
               str(port)], seconds=240)
