"""A real Apache Kafka for tests: a node on free loopback ports, with its data in a given directory."""

from __future__ import annotations

import base64
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from kafka import KafkaAdminClient, errors

from tests.kafka.jars import jars, java
from tests.waiting import wait_until

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
# Below the ports of outgoing connections: these ports must still be free after a stop.
_FIRST_PORT, _LAST_PORT = 20_000, 31_000
# Small and quick to start. Settings that the guarantees depend on keep their defaults.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info")
# What a single node needs; everything else keeps the default of the broker.
STOCK = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "DIRECT",
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
}
# Longer than any topic keeps its records.
KEEPS_OFFSETS = {"offsets.retention.minutes": 131_040}
FAST_START = (
    STOCK
    | KEEPS_OFFSETS
    | {
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        # Tests may replace lost members quickly.
        "group.min.session.timeout.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        # Few files to create.
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.num.partitions": 1,
        # Tests wait for retention. A shorter interval costs more: Kafka looks at each partition of every earlier test.
        "log.initial.task.delay.ms": 100,
        "log.retention.check.interval.ms": 1_000,
        "log.segment.delete.delay.ms": 100,
    }
)


class ProxiedListener(NamedTuple):
    """A listener for clients behind a proxy: Kafka listens on `port` and advertises the port of the proxy."""

    port: int
    advertised_port: int


class SecureListeners(NamedTuple):
    """Listeners with authentication. `protocols`: SSL, SASL_SSL or SASL_PLAINTEXT by name; `settings`: further settings
    of the broker; `scram`: the users to create, in the syntax of Kafka's StorageTool."""

    protocols: Mapping[str, str]
    settings: Mapping[str, object]
    scram: Sequence[str]


NO_SECURE_LISTENERS = SecureListeners({}, {}, ())


class KafkaServer:
    """A broker. It keeps its ports and data across stops, kills and starts."""

    def __init__(
        self,
        directory: Path,
        proxied: int = 0,
        secure: SecureListeners = NO_SECURE_LISTENERS,
        settings: Mapping[str, object] = FAST_START,
        joins: KafkaServer | None = None,
    ) -> None:
        """`joins`: the first node of the cluster, which is its controller; None if this is the first."""
        self._settings = settings if joins is None else dict(settings) | {"process.roles": "broker", "node.id": 2}
        self._joins = joins
        self._properties = directory / "server.properties"
        self.log_file = directory / "server.log"
        self._secure = secure
        direct, controller, *rest = _free_ports(2 + 2 * proxied + len(secure.protocols))
        self.bootstrap = f"127.0.0.1:{direct}"
        self.proxied_listeners = [ProxiedListener(*rest[2 * each : 2 * each + 2]) for each in range(proxied)]
        self.ports = dict(zip(secure.protocols, rest[2 * proxied :], strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._controller: int = joins._controller if joins else controller
        self._cluster: str = (
            joins._cluster if joins else base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=").replace("-", "_")
        )
        self._properties.write_text(self._text(direct, directory / "data"))
        self._format()

    def start(self) -> Self:
        """Returns once it answers and every partition has a leader."""
        with self.log_file.open("ab") as log:
            command = [*self._java(), "kafka.Kafka", str(self._properties)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.log_file.parent)
        try:
            self._await()
        except BaseException:
            self.kill()
            raise
        return self

    def start_empty(self) -> Self:
        """Start after its disk was lost: with the same address, and without any topic."""
        shutil.rmtree(self.log_file.parent / "data")
        self._format()
        return self.start()

    def stop(self) -> None:
        """Gracefully, so that the next start is fast."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """At once, like a crash."""
        self._end(signal.SIGKILL)

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def freeze(self) -> None:
        """Stop the process: connections stay open without answers until `thaw`."""
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
        command = [
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            self._cluster,
            "--no-initial-controllers" if self._joins else "--standalone",
            "--config",
            str(self._properties),
            *(word for user in self._secure.scram for word in ("--add-scram", user)),
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        assert result.returncode == 0, f"Kafka's storage could not be formatted:\n{result.stdout}{result.stderr}"

    def _await(self) -> None:
        def answers() -> bool:
            exit_code = self._running.poll()
            assert exit_code is None, f"Kafka exited with {exit_code}"
            return self._answers()

        try:
            wait_until(answers, "an answer of Kafka", START_TIMEOUT_S)
        except AssertionError as error:
            error.add_note(self._log_tail())
            raise

    def _answers(self) -> bool:
        host, port = self.bootstrap.split(":")
        try:
            socket.create_connection((host, int(port)), 1).close()  # a refused connection is cheaper than a client
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2000)
        except (OSError, errors.KafkaError):
            return False
        try:
            topics = admin.describe_topics()
            have_leaders = all(partition["leader_id"] >= 0 for topic in topics for partition in topic["partitions"])
            return have_leaders and bool(admin.describe_cluster()["brokers"])
        except errors.KafkaError:
            return False
        finally:
            admin.close()

    def _log_tail(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-20:]) + f"\n(all: {self.log_file})"

    def _java(self) -> list[str]:
        return [java(), *_JVM, "-cp", f"{jars()}/*"]

    def _text(self, direct: int, data: Path) -> str:
        listeners = {"DIRECT": direct} | ({} if self._joins else {"CONTROLLER": self._controller})
        listeners |= {f"PROXIED{number}": each.port for number, each in enumerate(self.proxied_listeners)}
        listeners |= self.ports
        advertised = (
            self.ports
            | {"DIRECT": direct}
            | {f"PROXIED{number}": each.advertised_port for number, each in enumerate(self.proxied_listeners)}
        )
        protocols = dict.fromkeys([*listeners, "CONTROLLER"], "PLAINTEXT") | dict(self._secure.protocols)
        settings = (
            dict(self._settings)
            | dict(self._secure.settings)
            | {
                "log.dirs": data,
                "controller.quorum.bootstrap.servers": f"127.0.0.1:{self._controller}",
                "listeners": _addresses(listeners),
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
    """Free ports. From the random numbers of the system: workers that share a seed must not get the same ones."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.SystemRandom().randint(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _reserve(port):
            ports.add(port)
    return sorted(ports)


def _reserve(port: int) -> bool:
    """Until this process ends: a stopped proxy or server leaves its port unused for a while."""
    lock = os.open(Path(tempfile.gettempdir()) / f"headrace-port-{port}.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    return True
