"""Starts a Kafka for benchmarks: one node on loopback, with data in a temporary folder and the jars of the tests' pom.

The Kafka of the tests (tests/kafka/server.py) is configured to start fast: limited JIT compilation, few partitions in
internal topics, and frequent retention checks. This one has Kafka's defaults, so that the results are those of a real
deployment, except for replication, which one node cannot do, and the initial rebalance delay, which is 0.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

POM = Path(__file__).parents[1] / "tests" / "kafka" / "pom.xml"
# Not the folder of the tests' jars, so that neither finds an incomplete download of the other.
JARS = POM.parent / "target" / "bench-jars"
START_LIMIT_S = 90.0
STOP_LIMIT_S = 30.0
CLUSTER = "aGVhZHJhY2UtbWVhc3VyZQ"


class RunningKafka(NamedTuple):
    """`pid` and `data`, the folder of the topics, are None for a broker that this program did not start."""

    address: str
    pid: int | None
    data: Path | None


@contextmanager
def running_kafka(address: str | None) -> Iterator[RunningKafka]:
    """The broker at `address`, or a new one that is stopped at the end."""
    if address is not None:
        yield RunningKafka(address, None, None)
        return
    _fetch_jars()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-kafka-") as place:
        port, controller = _free_ports()
        settings = Path(place) / "server.properties"
        settings.write_text(_settings(Path(place) / "data", port, controller))
        java = ["java", "-Xms512m", "-Xmx512m", "-cp", f"{JARS}/*"]
        tool = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(settings)]
        subprocess.run(tool, check=True, capture_output=True)
        log = Path(place) / "kafka.log"
        with log.open("wb") as out:
            command = [*java, "kafka.Kafka", str(settings)]
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            _wait_for(port, process, log)
            yield RunningKafka(f"127.0.0.1:{port}", process.pid, Path(place) / "data")
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _fetch_jars() -> None:
    if not shutil.which("java"):
        raise SystemExit("bench: java not found: install Java 17 or pass a running Kafka with --kafka HOST:PORT")
    if JARS.is_dir():
        return
    if not shutil.which("mvn"):
        raise SystemExit("bench: mvn not found: install Maven or pass a running Kafka with --kafka HOST:PORT")
    incomplete = JARS.with_suffix(".half")
    fetch = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={incomplete}"]
    subprocess.run(fetch, check=True)
    incomplete.rename(JARS)


def _settings(data: Path, port: int, controller: int) -> str:
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: Kafka did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            return
