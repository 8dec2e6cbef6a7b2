"""What an operator may set.

Each service has one frozen model (services/<name>/settings.py) made of the common sections here and one of its own.
Secrets are never settings: a `*_file` key names the file that holds one. Where values come from, and on which line,
is sources.py's job, putting them together loading.py's; tables.py makes the tables people read.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.clock import Clock, SystemClock, VirtualClock
from shared.errors import ConfigError


def _no_credentials(url: str) -> str:
    if urlsplit(url).password is not None:
        raise ValueError("a URL must not hold a password: it would show in process lists and logs")
    return url


def _postgres_url(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's own message may quote the URL, and with it a password.
        raise ValueError("is no PostgreSQL URL; expected postgresql://USER@HOST:PORT/DATABASE") from None
    if "password" in parts or "sslpassword" in parts:
        raise ValueError("must not hold a password: put it into a file and name that file in database.password_file")
    return url


def _broker_url(url: str) -> str:
    if url != "embedded" and not url.startswith("kafka://"):
        raise ValueError('expected "embedded" or kafka://HOST:PORT[,HOST:PORT ...]')
    return url


def _secret_file(file: Path) -> Path:
    if not os.access(file, os.R_OK) or not file.is_file():
        raise ValueError("there is no file that this user can read; it must hold the secret and nothing else")
    return file


Url = Annotated[str, AfterValidator(_no_credentials)]
SecretFile = Annotated[Path, AfterValidator(_secret_file)]


class Section(BaseModel):
    """Settings that belong together: one key of headrace.yaml. Numbers may stand where text is wanted (slot: 0)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


def _replica(data: dict[str, Any]) -> str:
    """Stable over restarts, so that a restarted replica takes its old row over."""
    return f"{socket.gethostname()}-{data.get('slot', '0')}"


class Replica(Section):
    slot: str = Field(
        default="0",
        min_length=1,
        max_length=60,
        pattern=r"^[\w.-]+$",
        description="which of the service's replicas this is; two with the same slot fence each other",
    )
    replica: str = Field(
        default_factory=_replica,
        min_length=1,
        max_length=200,
        description="its name in `headrace status`",
        json_schema_extra={"shown": "HOSTNAME-SLOT"},
    )


class Database(Section):
    url: Annotated[str, AfterValidator(_postgres_url)] = Field(
        description="PostgreSQL, without a password: postgresql://USER@HOST:PORT/DATABASE"
    )
    password_file: SecretFile | None = Field(default=None, description="the file that holds the password")

    def conninfo(self, application_name: str = "headrace") -> str:
        """What psycopg connects with, password included: never log it, never put it on a command line."""
        secret = {} if self.password_file is None else {"password": read_secret(self.password_file)}
        return make_conninfo(self.url, application_name=application_name, **secret)


class BrokerSettings(Section):
    url: Annotated[Url, AfterValidator(_broker_url)] = Field(
        default="embedded", description="`embedded` (the log lies in the database) or kafka://HOST:PORT"
    )
    partitions: int = Field(default=6, ge=1, le=1000, description="partitions of a topic when it is created")
    retention_days: float = Field(default=14, gt=0, description="how long records are kept, in days")

    @property
    def address(self) -> str | None:
        """HOST:PORT[,HOST:PORT ...] of Kafka; None: the log lies in the database."""
        return self.url.removeprefix("kafka://") if self.url != "embedded" else None


class KafkaSettings(Section):
    """How to reach Kafka and what to ask of it; of no effect with the embedded broker."""

    environment: str = Field(
        default="headrace",
        pattern=r"^[A-Za-z0-9._-]{1,60}$",
        description="begins the names of groups and transactions (not of topics: one Kafka holds one Headrace)",
    )
    replication_factor: int | None = Field(
        default=None, ge=1, description="copies of a topic when it is created; default: what the brokers say"
    )
    min_insync_replicas: int | None = Field(
        default=None, ge=1, description="copies that must have a record before it counts; default: the brokers'"
    )
    session_timeout_s: float = Field(
        default=10, gt=0, le=60, description="a replica that is silent for so long is replaced, in seconds"
    )
    tls: bool = Field(default=False, description="encrypt, and check the brokers' certificates")
    ca_file: Path | None = Field(default=None, description="certificates to trust instead of the system's (PEM)")
    certificate_file: Path | None = Field(default=None, description="our certificate, for mutual TLS (PEM)")
    key_file: SecretFile | None = Field(default=None, description="the file that holds its private key (PEM)")
    username: str | None = Field(default=None, description="SASL user; needs tls, except on loopback")
    password_file: SecretFile | None = Field(default=None, description="the file that holds the user's password")
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="how the user is authenticated"
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if not self.tls and (self.ca_file or self.certificate_file):
            raise ValueError("ca_file and certificate_file are for TLS: set tls to true")
        return self


class AdminSettings(Section):
    host: str = Field(default="127.0.0.1", description="address the admin app listens on")
    port: int = Field(default=0, ge=0, le=65535, description="its port; 0 takes a free one")
    token_file: SecretFile | None = Field(default=None, description="the file that holds the bearer token of /v1")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level that is told")


class ClockSettings(Section):
    start: AwareDatetime | None = Field(
        default=None, description="start of a virtual clock, with time zone; without it time is the machine's"
    )
    speed: float = Field(default=1.0, gt=0, description="virtual seconds per second")
    epoch_s: float | None = Field(
        default=None, ge=0, description="Unix time at which the virtual clock shows `start`; default: process start"
    )

    @model_validator(mode="after")
    def _speed_needs_a_start(self) -> Self:
        if self.start is None and (self.speed != 1.0 or self.epoch_s is not None):
            raise ValueError("speed and epoch_s are for a virtual clock: give start too")
        return self

    def clock(self) -> Clock:
        if self.start is None:
            return SystemClock()
        epoch_s = time.time() if self.epoch_s is None else self.epoch_s
        return VirtualClock(self.start.astimezone(UTC), self.speed, epoch_s)


class Settings(Section):
    """What every program of Headrace reads; the operator's command, which can start a database, needs none named."""

    data_dir: Path = Field(default=Path(".headrace"), description="where everything is written that is not a row")
    database: Database | None = Field(default=None, description="where facts, orders and the embedded log lie")
    broker: BrokerSettings = Field(default=BrokerSettings(), description="where the topics lie")
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="how Kafka is reached, where it is the broker")
    log: LogSettings = Field(default=LogSettings(), description="what is logged")
    clock: ClockSettings = Field(default=ClockSettings(), description="which time it is")
    admin: AdminSettings = Field(default=AdminSettings(), description="the service's own HTTP server")
    service: Replica = Field(default_factory=Replica, description="which replica this is")


class ServiceSettings(Settings):
    """The base of each service's model."""

    name: ClassVar[str]
    database: Database = Field(description="where facts, orders and the embedded log lie")


def read_secret(file: Path) -> str:
    """The secret in a file, without the line end that editors add. Raises ConfigError, which never holds it."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the secret in {file}: {getattr(error, 'strerror', None) or 'no text'}"
        ) from None
    if not secret:
        raise ConfigError(f"{file} is empty; it must hold the secret and nothing else")
    return secret
