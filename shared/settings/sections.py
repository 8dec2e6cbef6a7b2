"""The settings that all services share.

Each service has one frozen model (services/<name>/settings.py) with the common sections defined here and one section of
its own. A secret is never a setting: a `*_file` key names the file that contains it. sources.py reads values with their
origins, loading.py merges and validates them, tables.py renders them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from shared.clock import Clock, SystemClock, VirtualClock
from shared.settings.admin import AdminSettings
from shared.settings.login import LoginConninfo
from shared.settings.values import SecretFile, Section, Url


def _postgres_url(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's message may quote the URL and a password in it.
        raise ValueError("expected a PostgreSQL URL: postgresql://USER@HOST:PORT/DATABASE") from None
    if "password" in parts or "sslpassword" in parts:
        raise ValueError("must not contain a password: put it into a file and set database.password_file to its path")
    return url


def _broker_url(url: str) -> str:
    if url != "embedded" and not url.startswith("kafka://"):
        raise ValueError('expected "embedded" or kafka://HOST:PORT[,HOST:PORT ...]')
    return url


# The value of service.slot with which a replica claims a free slot.
AUTO = "auto"


def _default_replica(data: dict[str, Any]) -> str:
    """HOSTNAME-SLOT. A replica that restarts on its host usually has the same slot, so it reuses its row."""
    return f"{socket.gethostname()}-{data.get('slot', AUTO)}"


class ReplicaSettings(Section):
    slot: str = Field(
        default=AUTO,
        min_length=1,
        max_length=60,
        pattern=r"^[\w.-]+$",
        description="the replica's slot; `auto` claims a free number in the database. Two replicas of a service with"
        " the same slot fence each other",
    )
    replica: str = Field(
        default_factory=_default_replica,
        min_length=1,
        max_length=200,
        description="the replica's name in `headrace status`",
        json_schema_extra={"shown": "HOSTNAME-SLOT"},
    )
    max_deaths: int = Field(
        default=3,
        ge=2,
        le=100,
        description="deaths of the process at the same record (a crash of the interpreter, too little memory, a hung"
        " handler) after which the record becomes a dead letter",
    )


class DatabaseSettings(Section):
    url: Annotated[str, AfterValidator(_postgres_url)] = Field(
        description="PostgreSQL URL without a password: postgresql://USER@HOST:PORT/DATABASE"
    )
    password_file: SecretFile | None = Field(default=None, description="file that contains the password")
    statement_timeout_s: float = Field(
        default=15,
        gt=0,
        le=3600,
        description="maximum duration of one statement, including its waits for locks, in seconds. Then it is cancelled"
        " and the batch is tried again with half of its records",
    )
    idle_in_transaction_timeout_s: float = Field(
        default=15,
        gt=0,
        le=3600,
        description="maximum time between two statements of a batch, in seconds. Then the server ends the session, so"
        " that a stopped process does not keep its locks",
    )
    batch_timeout_s: float = Field(
        default=45,
        gt=0,
        le=3600,
        description="maximum duration of a batch in the database, from its first statement to its commit, in seconds."
        " Then it is rolled back and tried again with half of its records",
    )

    @model_validator(mode="after")
    def _check_timeouts(self) -> Self:
        if self.statement_timeout_s > self.batch_timeout_s:
            raise ValueError("statement_timeout_s must not exceed batch_timeout_s: raise batch_timeout_s too")
        return self

    @property
    def longest_unit_s(self) -> float:
        """After this time without progress a loop counts as hung: a batch, and some time for its commit."""
        return self.batch_timeout_s + self.statement_timeout_s

    def conninfo(self, application_name: str = "headrace") -> str:
        """The connection string for psycopg. It contains the password: do not log it or put it on a command line.

        With a password file it is a LoginConninfo: a ReconnectingConnection reads the file for each connection."""
        given = {"application_name": application_name}
        if self.password_file is None:
            return make_conninfo(self.url, **given)
        # A server that asks for the password itself, or for none, is not the one that knows it.
        if "require_auth" not in conninfo_to_dict(self.url):
            given["require_auth"] = "scram-sha-256"
        return LoginConninfo.of(make_conninfo(self.url, **given), self.password_file)


class BrokerSettings(Section):
    url: Annotated[Url, AfterValidator(_broker_url)] = Field(
        default="embedded", description="`embedded` (the log is in the database) or kafka://HOST:PORT"
    )
    partitions: int = Field(default=6, ge=1, le=1000, description="partitions of a new topic")
    retention_days: float = Field(default=14, gt=0, description="retention of records, in days")

    @property
    def address(self) -> str | None:
        """HOST:PORT[,HOST:PORT ...] of Kafka; None for the embedded broker."""
        return self.url.removeprefix("kafka://") if self.url != "embedded" else None


class KafkaSettings(Section):
    """Connection to Kafka and properties of its topics. Ignored by the embedded broker."""

    environment: str = Field(
        default="headrace",
        pattern=r"^[A-Za-z0-9._-]{1,60}$",
        description="prefix of the names of groups and transactions, not of topics: one Kafka serves one Headrace",
    )
    replication_factor: int | None = Field(
        default=None, ge=1, description="replicas of a new topic; default: the brokers' setting"
    )
    min_insync_replicas: int | None = Field(
        default=None,
        ge=1,
        description="replicas that must acknowledge a record (of a new topic); default: the brokers' setting",
    )
    session_timeout_s: float = Field(
        default=10, gt=0, le=60, description="seconds without a heartbeat after which a replica is replaced"
    )
    tls: bool = Field(default=False, description="encrypt connections and verify the brokers' certificates")
    ca_file: Path | None = Field(default=None, description="CA certificates to trust instead of the system's (PEM)")
    certificate_file: Path | None = Field(default=None, description="client certificate for mutual TLS (PEM)")
    key_file: SecretFile | None = Field(
        default=None, description="file that contains the private key of the client certificate (PEM)"
    )
    username: str | None = Field(default=None, description="SASL user; requires tls, except on loopback")
    password_file: SecretFile | None = Field(default=None, description="file that contains the SASL user's password")
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(default="SCRAM-SHA-512", description="SASL mechanism")

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file must be set together")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file must be set together")
        if not self.tls and (self.ca_file or self.certificate_file):
            raise ValueError("ca_file and certificate_file require tls: set tls to true")
        return self


class RetentionSettings(Section):
    """How long rows are kept that are no facts."""

    operations_days: float = Field(default=400, gt=1, description="days that finished operations are kept")
    dead_letters_days: float = Field(
        default=400,
        gt=1,
        description="days that rows of dead letters are kept; their records, which can be redriven, are kept 90 days",
    )
    messages_days: float = Field(
        default=400, gt=1, description="days that sent, failed and expired messages, past alerts and mutes are kept"
    )
    processes_days: float = Field(
        default=7, gt=0, description="days that the state of replicas and jobs that have ended is kept"
    )


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="minimum log level")


class ClockSettings(Section):
    start: AwareDatetime | None = Field(
        default=None, description="start of a virtual clock, with time zone; default: use the machine's clock"
    )
    speed: float = Field(default=1.0, gt=0, description="virtual seconds per second")
    epoch_s: float | None = Field(
        default=None, ge=0, description="Unix time at which the virtual clock shows `start`; default: process start"
    )

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.start is None and (self.speed != 1.0 or self.epoch_s is not None):
            raise ValueError("speed and epoch_s require a virtual clock: set start too")
        return self

    def clock(self) -> Clock:
        if self.start is None:
            return SystemClock()
        epoch_s = time.time() if self.epoch_s is None else self.epoch_s
        return VirtualClock(self.start.astimezone(UTC), self.speed, epoch_s)


class Settings(Section):
    """The settings of every program. None is required, because the operator's command can start a database itself."""

    data_dir: Path = Field(default=Path(".headrace"), description="directory of all files that Headrace writes")
    database: DatabaseSettings | None = Field(
        default=None, description="the database of facts, orders and the embedded log"
    )
    broker: BrokerSettings = Field(default=BrokerSettings(), description="the broker of the topics")
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="connection to Kafka, if it is the broker")
    retention: RetentionSettings = Field(default=RetentionSettings(), description="how long old rows are kept")
    log: LogSettings = Field(default=LogSettings(), description="logging")
    clock: ClockSettings = Field(default=ClockSettings(), description="the clock: real or virtual")
    admin: AdminSettings = Field(default=AdminSettings(), description="the service's HTTP server")
    service: ReplicaSettings = Field(default_factory=ReplicaSettings, description="identity of this replica")


class ServiceSettings(Settings):
    """The base class of each service's settings."""

    name: ClassVar[str]
    database: DatabaseSettings = Field(description="the database of facts, orders and the embedded log")

    def folders(self) -> Mapping[str, Path]:
        """The folders that all replicas of the service must share, by their purpose."""
        return {}
