"""A real Apache Kafka for tests: one node, on free ports of the loopback, with its data in a given directory."""

from __future__ import annotations

import base64
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from kafka import KafkaAdminClient, errors

from tests.kafka.jars import jars, java
from tests.waiting import wait_until

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
# Below the ports that the system gives to outgoing connections: ours must still be free after a stop.
_FIRST_PORT, _LAST_PORT = 20_000, 31_000
# Small and soon ready; the settings that the product's promises hang on keep their defaults.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info")
# What a single node cannot do without; everything else keeps the broker's default.
STOCK = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "DIRECT",
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
}
SOON_READY = STOCK | {
    "auto.create.topics.enable": "false",
    "default.replication.factor": 1,
    # Lost members are replaced soon, where a test asks for it.
    "group.min.session.timeout.ms": 500,
    "group.initial.rebalance.delay.ms": 0,
    # Few files to make.
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.num.partitions": 1,
    # So that a test can wait for retention.
    "log.initial.task.delay.ms": 100,
    "log.retention.check.interval.ms": 300,
    "log.segment.delete.delay.ms": 100,
}


class Door(NamedTuple):
    """A way in for clients behind a proxy: they are told `advertised`, where a proxy may listen and go on to `port`."""

    port: int
    advertised: int


class Guarded(NamedTuple):
    """Listeners that do not let everybody in. `protocols`: by name, SSL, SASL_SSL or SASL_PLAINTEXT; `settings`: the
    broker's, beside its own; `scram`: the users to make, in the words of Kafka's StorageTool."""

    protocols: Mapping[str, str]
    settings: Mapping[str, object]
    scram: str


OPEN = Guarded({}, {}, "")


class KafkaServer:
    """One broker. Ports and data stay the same over stops, kills and starts."""

    def __init__(
        self, directory: Path, doors: int = 0, guarded: Guarded = OPEN, settings: Mapping[str, object] = SOON_READY
    ) -> None:
        self._settings = settings
        self._properties = directory / "server.properties"
        self.log_file = directory / "server.log"
        self._guarded = guarded
        direct, controller, *rest = _free_ports(2 + 2 * doors + len(guarded.protocols))
        self.bootstrap = f"127.0.0.1:{direct}"
        self.doors = [Door(*rest[2 * each : 2 * each + 2]) for each in range(doors)]
        self.ports = dict(zip(guarded.protocols, rest[2 * doors :], strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._properties.write_text(self._text(direct, controller, directory / "data"))
        self._format()

    def start(self) -> Self:
        """Returns once it answers and every partition has its leader."""
        with self.log_file.open("ab") as log:
            command = [*self._java(), "kafka.Kafka", str(self._properties)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.log_file.parent)
        try:
            self._await()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """In good order: the next start takes a second or two."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """At once, as a crash would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It holds its connections, and answers nobody until `thaw`."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running.send_signal(signal.SIGCONT)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "this Kafka is not running"
        return self._process

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=").replace("-", "_")
        command = [
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            cluster,
            "--standalone",
            "--config",
            str(self._properties),
            *(["--add-scram", self._guarded.scram] if self._guarded.scram else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        assert done.returncode == 0, f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"

    def _await(self) -> None:
        def answers() -> bool:
            ended = self._running.poll()
            assert ended is None, f"Kafka ended with {ended}"
            return self._answers()

        try:
            wait_until(answers, "an answer of Kafka", START_TIMEOUT_S)
        except AssertionError as error:
            error.add_note(self._last_words())
            raise

    def _answers(self) -> bool:
        host, port = self.bootstrap.split(":")
        try:
            socket.create_connection((host, int(port)), 1).close()  # cheaper to be refused than the client
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2000)
        except (OSError, errors.KafkaError):
            return False
        try:
            topics = admin.describe_topics()
            led = all(partition["leader_id"] >= 0 for topic in topics for partition in topic["partitions"])
            return led and bool(admin.describe_cluster()["brokers"])
        except errors.KafkaError:
            return False
        finally:
            admin.close()

    def _last_words(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-20:]) + f"\n(all: {self.log_file})"

    def _java(self) -> list[str]:
        return [java(), *_JVM, "-cp", f"{jars()}/*"]

    def _text(self, direct: int, controller: int, data: Path) -> str:
        listening = {"DIRECT": direct, "CONTROLLER": controller}
        listening |= {f"DOOR{number}": door.port for number, door in enumerate(self.doors)}
        listening |= self.ports
        advertised = (
            self.ports
            | {"DIRECT": direct}
            | {f"DOOR{number}": door.advertised for number, door in enumerate(self.doors)}
        )
        protocols = dict.fromkeys(listening, "PLAINTEXT") | dict(self._guarded.protocols)
        settings = (
            dict(self._settings)
            | dict(self._guarded.settings)
            | {
                "log.dirs": data,
                "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
                "listeners": _addresses(listening),
                "advertised.listeners": _addresses(advertised),
                "listener.security.protocol.map": ",".join(
                    f"{name}:{protocol}" for name, protocol in protocols.items()
                ),
            }
        )
        return "".join(f"{key}={value}\n" for key, value in settings.items())


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at. From the system's random: workers that share a seed must not get the same."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().randint(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _reserve(port):
            found.add(port)
    return sorted(found)


def _reserve(port: int) -> bool:
    """For as long as this process lives: a proxy or a server that is stopped leaves its port unused for a while."""
    lock = os.open(Path(tempfile.gettempdir()) / f"headrace-port-{port}.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    return True
