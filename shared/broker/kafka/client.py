"""Configures kafka-python and translates its errors into those of shared/errors.py."""

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

# Maximum wait for the answer to each step of a commit. Within this time the library repeats the request, over new
# connections. After it the outcome is unknown, until the slot's next producer ends the transaction.
ANSWER_S = 20.0
# Limit of the check whether anything listens at an address.
LISTENER_TIMEOUT_S = 1.0
# Older brokers (2.5, 2.6) let a fenced producer continue, which breaks exactly-once.
MIN_VERSION = (2, 8)
REQUEST_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
# With the library's default of 30 s, reconnecting to a killed broker took 32 to 92 s.
LONGEST_RECONNECT_S = 1.0

# Errors that a retry cannot fix: a setting or a permission is wrong.
_CONFIG_ERRORS = (
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
_PREPARES_COORDINATOR = "Kafka is still preparing the coordinator"
_ELECTS_LEADERS = "Kafka is still electing partition leaders"
# Errors of a broker that is starting, is creating its internal topics, or has just created a topic.
_NOT_READY_ERRORS: dict[type[BaseException], str] = {
    NoAnswerYet: "Kafka accepts connections but does not answer yet",
    errors.CoordinatorNotAvailableError: _PREPARES_COORDINATOR,
    errors.NotCoordinatorError: _PREPARES_COORDINATOR,
    errors.CoordinatorLoadInProgressError: _PREPARES_COORDINATOR,
    errors.RequestTimedOutError: "Kafka did not answer in time",
    errors.LeaderNotAvailableError: _ELECTS_LEADERS,
    errors.NotLeaderForPartitionError: _ELECTS_LEADERS,
}
# Errors that disappear without a change by an operator. A consumer that has lost its membership, or is in a rebalance,
# only has to continue polling.
_TRANSIENT_ERRORS = (
    errors.RetriableError,
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.BrokerNotAvailableError,
    errors.NodeNotReadyError,
    errors.UnknownBrokerIdError,  # a node that is leaving the cluster
)


def addresses_of(url: str) -> list[str]:
    """The broker addresses in kafka://HOST:PORT[,HOST:PORT ...]; the default port is 9092."""
    hosts = [host.strip() for host in url.removeprefix("kafka://").rstrip("/").split(",")]
    if not all(hosts):
        raise ConfigError(f"broker.url {url!r}: expected kafka://HOST:PORT[,HOST:PORT ...]")
    return [host if ":" in host else f"{host}:9092" for host in hosts]


def client_settings(addresses: list[str], kafka: KafkaSettings, client_id: str) -> dict[str, Any]:
    """The settings shared by consumers, producers and admin clients. Contains the password: never log it."""
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
def translate_errors(action: str) -> Iterator[None]:
    """Raise the library's errors as Headrace errors. `action` begins the message. Other errors propagate and end the
    process, because the client may be in an undefined state."""
    try:
        yield
    except errors.FencedInstanceIdError as error:
        raise HeadraceError(f"{action}: another process has taken this slot; give each replica its own slot") from error
    except errors.UnknownTopicOrPartitionError as error:
        raise ConfigError(f"{action}: the topic does not exist; `headrace migrate` creates it") from error
    except _CONFIG_ERRORS as error:
        raise ConfigError(f"{action}: Kafka refuses: {reason_of(error)}") from error
    except tuple(_NOT_READY_ERRORS) as error:
        raise NotReady(f"{action}: {_NOT_READY_ERRORS[type(error)]}: {reason_of(error)}") from error
    except _TRANSIENT_ERRORS as error:
        raise TransientError(f"{action}: Kafka is unavailable: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """The error's class and first line: the library's messages alone often say little."""
    text = str(error).strip(" :\n").splitlines()
    name = type(error).__name__
    return text[0] if text and name in text[0] else f"{name}: {text[0]}" if text else name


def require_version(version: tuple[int, ...], addresses: list[str]) -> None:
    """Raises ConfigError for a broker version that does not support exactly-once."""
    if version < MIN_VERSION:
        raise ConfigError(
            f"Kafka at {', '.join(addresses)} has version {'.'.join(map(str, version))}, but exactly-once needs"
            f" {'.'.join(map(str, MIN_VERSION))} or later: upgrade the brokers"
        )


def require_listener(addresses: Sequence[str]) -> None:
    """Raises TransientError immediately if Kafka is down, instead of waiting for it as the client does."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        with suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), LISTENER_TIMEOUT_S).close()
            return
    raise TransientError(f"nothing listens at {', '.join(addresses)}")
