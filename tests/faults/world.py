"""The system under test: a real PostgreSQL, the real broker, and the five services as supervised processes."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

import psycopg

from headrace.database.access import Access, prepare
from headrace.database.data_dir import DataDir
from headrace.database.embedded import DATABASE, EmbeddedPostgres
from headrace.processes.supervisor import Program, Supervisor
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.programs import common_environment, python, services
from shared.settings.sections import Settings
from shared.settings.values import read_secret
from shared.topics import SERVICES
from tests.faults.days import morning
from tests.faults.faulty_proxies import FaultyProxies, FaultyProxy, is_kafka_commit, is_postgres_commit
from tests.faults.observer import Observer
from tests.faults.recovery import Sample
from tests.faults.schedule import EMBEDDED, KAFKA
from tests.faults.service import kill_point_file, pace_file
from tests.kafka.server import KafkaServer
from tests.services.notifier.http_receiver import receiving

TICK_S = 0.05
# The longest time without progress while work remains. After a kill between sending and marking, a notification is
# settled only after the sender's lease of 60 s; after a broken unit, work may remain forever.
STALL_S, BROKEN_STALL_S = 100.0, 5.0
SAMPLE_LIMIT_S = 60.0
# The time between two readings without progress after which nothing can be in flight.
STILL_S = 1.5
# Low thresholds, so that there are enough notifications.
NOTIFIER = {"CHANNELS": "webhook", "BIG_AMOUNT": "30000", "TIP_PROBABILITY": "0.3"}


class RunStuckError(Exception):
    """An expected condition did not come true. The message names it."""


@dataclass(frozen=True)
class Plan:
    """How a world is set up. `wrapped`: services that run under tests/faults/service.py; `broken`: a service and the
    kind of its broken units; `claims_slots`: the replicas claim their slots; otherwise their settings name them."""

    archive: Path
    replicas: Mapping[str, int]
    wrapped: frozenset[str] = frozenset()
    broken: tuple[str, str] | None = None
    broker: str = EMBEDDED
    proxied: bool = True
    claims_slots: bool = False


class World:
    """Leaving the block stops everything."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.plan = plan
        self.data_dir = DataDir(directory / "data")
        self.control_dir = directory / "faults"
        self.server = EmbeddedPostgres(self.data_dir.path)
        self.access = Access(self.server, None)
        self.kafka: KafkaServer | None = None
        self.proxies: dict[str, FaultyProxy] = {}
        self.supervisor = Supervisor([])
        self.deaths: Counter[str] = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self.data_dir.create()
        (self.control_dir / "kill-points").mkdir(parents=True)
        if self.plan.broker == KAFKA:
            (self.control_dir / "kafka").mkdir()
            self.kafka = KafkaServer(self.control_dir / "kafka", proxied=len(SERVICES))
            self._stack.callback(self.kafka.kill)
            self.kafka.start()
        settings = Settings.model_validate({"data_dir": self.data_dir.path, "broker": {"url": self.broker_url}})
        self.server.start()
        self._stack.callback(self.server.stop)
        prepare(self.access, settings)
        self.observer = Observer(self.access, settings, read_secret(self.data_dir.create_token()))
        self._stack.callback(self.observer.close)
        self._receiver = self._stack.enter_context(receiving())
        self._webhook = self.control_dir / "webhook"
        self._webhook.write_text(self._receiver.url)
        if self.plan.proxied:
            proxies = FaultyProxies()
            self._stack.callback(proxies.close)
            self._open_proxies(proxies)
        self._stack.callback(self.stop)

    @property
    def broker_url(self) -> str:
        """The broker's address without a proxy."""
        return EMBEDDED if self.kafka is None else f"kafka://{self.kafka.bootstrap}"

    def required_kafka(self) -> KafkaServer:
        assert self.kafka is not None, "this world has no Kafka"
        return self.kafka

    def _open_proxies(self, proxies: FaultyProxies) -> None:
        """One proxy of the database for each service, and one of Kafka, which advertises the proxy's address."""
        socket = self.server.socket_dir / ".s.PGSQL.5432"
        self.proxies = {service: proxies.open(socket, is_postgres_commit) for service in SERVICES}
        for service, listener in zip(SERVICES, self.kafka.proxied_listeners if self.kafka else (), strict=False):
            target = ("127.0.0.1", listener.port)
            self.proxies[f"{service}-kafka"] = proxies.open(target, is_kafka_commit, listener.advertised_port)

    def start(self, days: list[date], clock: date, *, results: bool = True) -> None:
        """Start the services for these days, on the morning of the day `clock`."""
        self.observer.expect(days, results=results)
        options = RunOptions(
            source="archive",
            archive=self.plan.archive,
            from_date=days[0],
            to_date=days[-1],
            clock=VirtualTime(morning(clock), 1.0, time.time()),
            replicas=dict(self.plan.replicas),
        )
        self.supervisor = Supervisor(
            [
                self._program(each)
                for each in services(self.access, self.data_dir, options, False, None, self.broker_url)
            ]
        )
        self.supervisor.start()

    def stop(self) -> list[str]:
        return self.supervisor.stop()

    def pace(self, unit_s: float) -> None:
        """Set how long the fetcher waits before each unit from now on. The fetcher must be wrapped."""
        pace_file(self.control_dir).write_text(str(unit_s))

    def arm(self, replica: str, armed: str) -> None:
        kill_point_file(self.control_dir, replica).write_text(armed)

    def disarm(self, service: str) -> None:
        for slot in range(self.plan.replicas.get(service, 1)):
            kill_point_file(self.control_dir, f"{service}-{slot}").unlink(missing_ok=True)

    def is_armed(self, replica: str) -> bool:
        return kill_point_file(self.control_dir, replica).exists()

    def train(self) -> Path:
        """Train a model on the loaded facts. Returns the directory of models."""
        program = Program(
            "train",
            python("-m", "headrace", "train", "--data-dir", str(self.data_dir.path)),
            self.data_dir.log("train"),
            common_environment(self.data_dir),
            restart=False,
        )
        trainer = Supervisor([program])
        trainer.start()
        try:
            self.wait(
                lambda: bool(trainer.step()) or trainer.exit_status("train") is not None, 300, "the training to end"
            )
        finally:
            trainer.stop()
        if trainer.exit_status("train"):
            raise RunStuckError(f"training failed: {program.log.read_text()[-2000:]}")
        return self.models

    @property
    def models(self) -> Path:
        return self.data_dir.path / "models"

    def copy_model(self, models: Path) -> None:
        shutil.copytree(models, self.models, dirs_exist_ok=True)

    def received(self) -> Counter[str]:
        """How often each message arrived at the receiver, by its id."""
        return Counter(seen.body["message_id"] for seen in self._receiver.seen)

    def connect(self) -> psycopg.Connection[Any]:
        return self.access.connect("headrace faults")

    def tick(self) -> None:
        """Restart programs that died. Raises RunStuckError if a service refuses its settings or keeps failing."""
        self.deaths.update(program.name for program in self.supervisor.step())
        if misconfigured := self.supervisor.misconfigured_program():
            raise RunStuckError(f"{misconfigured.name} refused its settings: {misconfigured.log.read_text()[-2000:]}")
        if failing := self.supervisor.failing_program():
            raise RunStuckError(f"{failing.name} keeps failing: {failing.log.read_text()[-2000:]}")
        time.sleep(TICK_S)

    def wait(self, until: Callable[[], bool], limit_s: float, what: str) -> None:
        deadline_s = time.monotonic() + limit_s
        while not until():
            if time.monotonic() > deadline_s:
                raise RunStuckError(f"waited {limit_s:g} s for {what}")
            self.tick()

    def rest(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.tick()

    def sample(self) -> Sample:
        """Wait until a sample can be read."""
        samples: list[Sample] = []

        def can_be_read() -> bool:
            sample = self.observer.sample()
            samples.extend([sample] if sample else [])
            return bool(samples)

        self.wait(can_be_read, SAMPLE_LIMIT_S, "positions that can be read")
        return samples[0]

    def settle(self) -> None:
        """Wait until no work remains. Raises RunStuckError if there is no progress while work remains."""
        remaining, since_s = self.observer.remaining(), time.monotonic()
        stall_s = BROKEN_STALL_S if self.plan.broken else STALL_S
        while remaining != 0 or time.monotonic() - since_s < STILL_S:
            self.tick()
            before, remaining = remaining, self.observer.remaining()
            since_s = since_s if remaining == before else time.monotonic()
            if time.monotonic() - since_s > stall_s:
                raise RunStuckError(f"no progress for {stall_s:g} s, and {remaining} records or messages remain")

    def _program(self, program: Program) -> Program:
        service = program.name.partition("-")[0]
        environment = {**program.environment, **self._environment(service)}
        if self.plan.claims_slots:
            del environment["HEADRACE_SERVICE__SLOT"]
        command = program.command
        if service in self.plan.wrapped:
            command = python("-m", "tests.faults.service", service)
            environment["FAULTS_DIR"] = str(self.control_dir)
        if self.plan.broken and self.plan.broken[0] == service:
            environment["FAULTS_BROKEN"] = self.plan.broken[1]
        return replace(program, command=command, environment=environment)

    def _environment(self, service: str) -> dict[str, str]:
        environment: dict[str, str] = {}
        if proxy := self.proxies.get(service):
            environment["HEADRACE_DATABASE__URL"] = f"postgresql://headrace_{service}@127.0.0.1:{proxy.port}/{DATABASE}"
        if proxy := self.proxies.get(f"{service}-kafka"):
            environment["HEADRACE_BROKER__URL"] = f"kafka://127.0.0.1:{proxy.port}"
        if service == "fetcher":
            environment["HEADRACE_FETCHER__BATCH_RECORDS"] = "1"  # a unit then holds one document
        if service == "notifier":
            environment |= {f"HEADRACE_NOTIFIER__{name}": value for name, value in NOTIFIER.items()}
            environment["HEADRACE_NOTIFIER__WEBHOOK_URL_FILE"] = str(self._webhook)
        return environment


def replicas_of(plan: Plan, service: str) -> Iterable[str]:
    return [f"{service}-{slot}" for slot in range(plan.replicas.get(service, 1))]
