"""The system under test: a real PostgreSQL, the real broker, and the five services as supervised processes."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path
from typing import Any, Self

import psycopg

from headrace.database.access import Access, prepare
from headrace.database.data_dir import DataDir
from headrace.database.embedded import EmbeddedPostgres
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.programs import services
from shared.errors import ConfigError
from shared.settings.sections import Settings
from shared.settings.values import read_secret
from shared.topics import SERVICES
from tests.faults.accidents.database_settings import limit_connections, limit_wal
from tests.faults.accidents.jumping_clock import JumpingClock, libfaketime_for, shared_by_all_users
from tests.faults.accidents.operator import COMMAND_LIMIT_S, CommandFailedError, Operator
from tests.faults.accidents.small_disk import SmallDisk
from tests.faults.days import morning
from tests.faults.errors import RunStuckError
from tests.faults.faulty_proxies import FaultyProxies, FaultyProxy, is_kafka_commit, is_postgres_commit
from tests.faults.observer import Observer
from tests.faults.programs import Plan, Surroundings, faulty_program
from tests.faults.recovery import Sample
from tests.faults.replicas import Replicas
from tests.faults.schedule import EMBEDDED, KAFKA, Kind
from tests.faults.service import kill_point_file, permits_of
from tests.faults.supply import Supply
from tests.faults.topics import TopicHistory
from tests.kafka.server import KafkaServer
from tests.services.notifier.http_receiver import receiving
from tests.waiting import wait_until

TICK_S = 0.05
# The longest time without progress while work remains. After a kill between sending and marking, a notification is
# settled only after the sender's lease of 60 s; after a broken unit, work may remain forever.
STALL_S, BROKEN_STALL_S = 180.0, 5.0
SAMPLE_LIMIT_S, START_LIMIT_S = 120.0, 90.0
# The time between two readings without progress after which nothing can be in flight.
STILL_S = 1.5
# Disks that are filled. The database of a run takes some 300 MB, with 192 MB of WAL.
DATABASE_DISK_MB, ARCHIVE_DISK_MB = 1024, 32


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
        self.replicas = Replicas()
        self.history = TopicHistory()
        self.supply = Supply(permits_of(self.control_dir))
        self.disks: dict[Kind, SmallDisk] = {}
        self.clock: JumpingClock | None = None
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
        self._settings = Settings.model_validate({"data_dir": self.data_dir.path, "broker": {"url": self.broker_url}})
        self._prepare_kinds()
        self.start_server()
        self._stack.callback(self._end_server)
        self._limit_server()
        prepare(self.access, self._settings)
        self._token = read_secret(self.data_dir.create_token())
        self.observer = Observer(self.access, self._settings, self._token)
        self._stack.callback(self.disconnect)
        self._receiver = self._stack.enter_context(receiving())
        self._webhook = self.control_dir / "webhook"
        self._webhook.write_text(self._receiver.url)
        if self.plan.proxied:
            proxies = FaultyProxies()
            self._stack.callback(proxies.close)
            self._open_proxies(proxies)
        self._stack.callback(self.replicas.stop)

    def _prepare_kinds(self) -> None:
        """The disks and the clock that the faults need."""
        sizes_mb = {
            Kind.DATABASE_FULL: (self.server.pgdata, DATABASE_DISK_MB),
            Kind.ARCHIVE_FULL: (self.data_dir.path / "archive", ARCHIVE_DISK_MB),
        }
        for kind in self.plan.kinds & sizes_mb.keys():
            self.disks[kind] = SmallDisk(*sizes_mb[kind])
            self._stack.callback(self.disks[kind].close)
        if Kind.CLOCK in self.plan.kinds:
            library = libfaketime_for(self.plan.broker)
            name = f"headrace-faults-{os.getpid()}"
            shared = self._stack.enter_context(shared_by_all_users(name)) if library else ""
            self.clock = JumpingClock(self.control_dir / "clock", library, shared)

    def _limit_server(self) -> None:
        if Kind.DATABASE_FULL in self.plan.kinds:
            limit_wal(self.access)
        if Kind.CONNECTIONS in self.plan.kinds:
            limit_connections(self.access)
            self.server.stop()
            self.start_server()

    def start_server(self) -> None:
        """Start the database, with the clock that jumps if there is one. Raises ConfigError."""
        environment = self.clock.environment() if self.clock else {}
        os.environ.update(environment)
        try:
            self.server.start()
        finally:
            for name in environment:
                del os.environ[name]

    def _end_server(self) -> None:
        """Without a checkpoint, which takes longer than `pg_ctl` waits if the machine is busy: a start recovers."""
        if (pid := self.server.pid()) is not None:
            os.kill(pid, signal.SIGQUIT)
            wait_until(lambda: self.server.pid() is None, "the end of the database")

    def start_killed_server(self) -> None:
        """Retries, because the server cannot start until all sessions of the killed one have ended."""
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.start_server()
            except ConfigError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)
            else:
                return

    def disconnect(self) -> None:
        """Close all connections of the suite."""
        self.observer.close()

    def reconnect(self) -> None:
        """After `disconnect`, or when the broker is a new one."""
        self.observer.close()
        self.observer = Observer(self.access, self._settings, self._token, self.observer.windows)

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
        surroundings = Surroundings(
            self.control_dir,
            {name: proxy.port for name, proxy in self.proxies.items()},
            self._webhook,
            self.clock.environment() if self.clock else {},
        )
        self.replicas.start(
            [
                faulty_program(each, self.plan, surroundings)
                for each in services(self.access, self.data_dir, options, False, None, self.broker_url)
            ]
        )

    def arm(self, replica: str, armed: str) -> None:
        kill_point_file(self.control_dir, replica).write_text(armed)

    def disarm(self, service: str) -> None:
        for slot in range(self.plan.replicas.get(service, 1)):
            kill_point_file(self.control_dir, f"{service}-{slot}").unlink(missing_ok=True)

    def is_armed(self, replica: str) -> bool:
        return kill_point_file(self.control_dir, replica).exists()

    def received(self) -> Counter[str]:
        """How often each message arrived at the receiver, by its id."""
        return Counter(seen.body["message_id"] for seen in self._receiver.seen)

    def logs_of(self, service: str) -> list[Path]:
        """The logs of all its replicas, also those of an earlier start."""
        return sorted((self.data_dir.path / "logs").glob(f"{service}-*.log*"))

    def connect(self) -> psycopg.Connection[Any]:
        return self.access.connect("headrace faults")

    def tick(self) -> None:
        """Restart programs that died, and let the next document come. Raises RunStuckError if a service refuses its
        settings or keeps failing."""
        self.replicas.step()
        self.supply.step()
        time.sleep(TICK_S)

    def work(self, work: Callable[[], object], limit_s: float, what: str) -> None:
        """In a thread, so that programs that die meanwhile are restarted."""
        with ThreadPoolExecutor(1) as executor:
            future = executor.submit(work)
            self.wait(future.done, limit_s, what)
            future.result()

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

    def release_messages(self) -> None:
        """Release the messages that are held, as a person does after a restore or a failover."""
        if self.observer.is_sending_held():
            self.work(Operator(self.data_dir, self.broker_url).release_messages, COMMAND_LIMIT_S, "the release")

    def sample(self) -> Sample:
        """Wait until a sample can be read."""
        samples: list[Sample] = []

        def can_be_read() -> bool:
            sample = self.observer.sample()
            samples.extend([sample] if sample else [])
            return bool(samples)

        self.wait(can_be_read, SAMPLE_LIMIT_S, "positions that can be read")
        return samples[0]

    def settle(self, check: Callable[[], object] = lambda: None) -> None:
        """Wait until no work remains, and call `check` meanwhile. Raises RunStuckError if there is no progress while
        work remains."""
        remaining, since_s = self.observer.remaining(), time.monotonic()
        stall_s = BROKEN_STALL_S if self.plan.broken else STALL_S
        while remaining != 0 or time.monotonic() - since_s < STILL_S:
            self.tick()
            with suppress(CommandFailedError):  # the notifier may be starting; the next turn tries again
                self.release_messages()
            check()
            before, remaining = remaining, self.observer.remaining()
            since_s = since_s if remaining == before else time.monotonic()
            if time.monotonic() - since_s > stall_s:
                raise RunStuckError(f"no progress for {stall_s:g} s, and {remaining} records or messages remain")
