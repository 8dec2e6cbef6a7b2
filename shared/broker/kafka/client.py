"""kafka-python as Headrace uses it: the settings it gets, and what its errors mean."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import errors

from shared.broker.kafka.security import security_settings
from shared.broker.kafka.workarounds import NoAnswerYet, SafeClient
from shared.errors import ConfigError, HeadraceError, NotReady, TransientError
from shared.settings.sections import KafkaSettings

# A decision (commit) or a step towards it that gets no answer for so long is given up: what became of it is settled by
# the next producer of the slot. Requests are repeated before that, over new connections.
ANSWER_S = 20.0
# How long a look whether anything listens at an address may take.
LISTENER_TIMEOUT_S = 1.0
# Older brokers let a fenced producer go on (2.5, 2.6), which is the end of exactly once.
OLDEST = (2, 8)
REQUEST_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
# With the library's own 30 s, a broker that was killed was found again after 32 to 92 s.
LONGEST_RECONNECT_S = 1.0

# What no waiting mends, and a person has to.
_SETTINGS = (
    errors.AuthorizationError,
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.SecurityDisabledError,
    errors.KafkaConfigurationError,
    errors.UnsupportedVersionError,
    errors.UnsupportedCodecError,
    errors.InvalidReplicationFactorError,
    errors.PolicyViolationError,
)
_PREPARES_COORDINATOR = "Kafka still prepares its coordinator"
_ELECTS_LEADERS = "Kafka still elects the leaders of partitions"
# What a broker answers while it starts, makes its internal topics, or has just made others.
_NOT_READY: dict[type[BaseException], str] = {
    NoAnswerYet: "Kafka takes connections and does not answer yet",
    errors.CoordinatorNotAvailableError: _PREPARES_COORDINATOR,
    errors.NotCoordinatorError: _PREPARES_COORDINATOR,
    errors.CoordinatorLoadInProgressError: _PREPARES_COORDINATOR,
    errors.RequestTimedOutError: "Kafka does not answer in time",
    errors.LeaderNotAvailableError: _ELECTS_LEADERS,
    errors.NotLeaderForPartitionError: _ELECTS_LEADERS,
}
# Membership that was lost or is being dealt out anew comes back by polling on.
_PASSING = (
    errors.RetriableError,
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.BrokerNotAvailableError,
    errors.NodeNotReadyError,
    errors.UnknownBrokerIdError,  # a node that is just going
)


def addresses_of(url: str) -> list[str]:
    """The brokers that kafka://HOST:PORT[,HOST:PORT ...] names; the port is 9092 where none is given."""
    hosts = [host.strip() for host in url.removeprefix("kafka://").rstrip("/").split(",")]
    if not all(hosts):
        raise ConfigError(f"broker.url {url!r}: expected kafka://HOST:PORT[,HOST:PORT ...]")
    return [host if ":" in host else f"{host}:9092" for host in hosts]


def client_settings(addresses: list[str], kafka: KafkaSettings, client_id: str) -> dict[str, Any]:
    """What consumers, producers and admin clients are told alike; holds the password, so never log it."""
    return {
        "bootstrap_servers": addresses,
        "client_id": client_id,
        "request_timeout_ms": int(REQUEST_TIMEOUT_S * 1000),
        "bootstrap_timeout_ms": int(CONNECT_TIMEOUT_S * 1000),
        "reconnect_backoff_max_ms": int(LONGEST_RECONNECT_S * 1000),
        "kafka_client": SafeClient,
        **security_settings(addresses, kafka),
    }


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The library's errors as Headrace's. What it knows no class for goes up and ends the process: a client that was
    surprised once is not to be trusted with a second try."""
    try:
        yield
    except errors.FencedInstanceIdError as error:
        raise HeadraceError(f"{doing}: another process runs under this slot now; give each replica its own") from error
    except errors.UnknownTopicOrPartitionError as error:
        raise ConfigError(f"{doing}: there is no such topic; `headrace migrate` creates them") from error
    except _SETTINGS as error:
        raise ConfigError(f"{doing}: Kafka refuses: {reason_of(error)}") from error
    except tuple(_NOT_READY) as error:
        raise NotReady(f"{doing}: {_NOT_READY[type(error)]}: {reason_of(error)}") from error
    except _PASSING as error:
        raise TransientError(f"{doing}: Kafka is away: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """The kind and the first line: the library's messages alone often say little."""
    text = str(error).strip(" :\n").splitlines()
    name = type(error).__name__
    return text[0] if text and name in text[0] else f"{name}: {text[0]}" if text else name


def require_version(version: tuple[int, ...], addresses: list[str]) -> None:
    """Raises ConfigError for a broker that cannot keep the promise."""
    if version < OLDEST:
        raise ConfigError(
            f"the Kafka at {', '.join(addresses)} is version {'.'.join(map(str, version))};"
            f" exactly once needs {'.'.join(map(str, OLDEST))} or later: upgrade the brokers"
        )


def require_listener(addresses: Sequence[str]) -> None:
    """Raises TransientError at once where Kafka is down; its client would wait for it, and its caller with it."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        with suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), LISTENER_TIMEOUT_S).close()
            return
    raise TransientError(f"nobody listens at {', '.join(addresses)}")
