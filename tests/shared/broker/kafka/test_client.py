"""Settings of Kafka clients and the translation of their errors. Without a broker."""

from __future__ import annotations

import gc
import ssl
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, errors
from pydantic import ValidationError

from shared.broker.kafka.client import addresses_of, client_settings, reason_of, require_version, translate_errors
from shared.errors import ConfigError, HeadraceError, NotReady, TransientError
from shared.settings.sections import KafkaSettings

LOOPBACK = ["127.0.0.1:9092"]
PASSWORD = "correct-horse-battery"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("kafka://a:1", ["a:1"]),
        ("kafka://a:1,b:2/", ["a:1", "b:2"]),
        ("kafka://a, b:2", ["a:9092", "b:2"]),
        ("kafka://[::1]:1", ["[::1]:1"]),
    ],
)
def test_a_url_names_one_or_more_brokers(url: str, addresses: list[str]) -> None:
    assert addresses_of(url) == addresses


@pytest.mark.parametrize("url", ["kafka://", "kafka://a:1,", "kafka://,a:1"])
def test_a_url_with_an_empty_broker_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected kafka://HOST:PORT"):
        addresses_of(url)


@pytest.mark.parametrize("version", [(2, 5), (2, 6), (2, 7)])
def test_a_broker_version_with_incomplete_fencing_is_refused(version: tuple[int, int]) -> None:
    with pytest.raises(ConfigError) as raised:
        require_version(version, ["a:1", "b:2"])

    message = str(raised.value)
    assert f"2.{version[1]}" in message
    assert "2.8 or later" in message
    assert "a:1, b:2" in message


@pytest.mark.parametrize("version", [(2, 8), (3, 0), (3, 9), (4, 0), (4, 4)])
def test_a_supported_broker_version_is_accepted(version: tuple[int, int]) -> None:
    require_version(version, LOOPBACK)


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (errors.TopicAuthorizationFailedError("t"), ConfigError),
        (errors.TransactionalIdAuthorizationFailedError("t"), ConfigError),
        (errors.SaslAuthenticationFailedError("no"), ConfigError),
        (errors.UnsupportedVersionError("no"), ConfigError),
        (errors.InvalidReplicationFactorError("3 > 1"), ConfigError),
        (errors.UnknownTopicOrPartitionError("t"), ConfigError),
        (errors.FencedInstanceIdError("slot"), HeadraceError),
        (errors.KafkaConnectionError("refused"), TransientError),
        (errors.KafkaTimeoutError("no answer"), TransientError),
        (errors.RequestTimedOutError("slow"), NotReady),
        (errors.NotLeaderForPartitionError("moved"), NotReady),
        (errors.LeaderNotAvailableError("made just now"), NotReady),
        (errors.NotEnoughReplicasError("one is away"), TransientError),
        (errors.CommitFailedError("rebalance"), TransientError),
        (errors.UnknownMemberIdError("gone"), TransientError),
        (errors.CoordinatorNotAvailableError("soon"), NotReady),
        (errors.NotCoordinatorError("soon"), NotReady),
        (errors.CoordinatorLoadInProgressError("soon"), NotReady),
    ],
)
def test_errors_of_the_library_are_translated(error: Exception, translated: type[HeadraceError]) -> None:
    with pytest.raises(HeadraceError) as raised, translate_errors("listing topics"):
        raise error

    assert type(raised.value) is translated
    assert str(raised.value).startswith("listing topics: ")


def test_unexpected_errors_are_not_translated() -> None:
    with pytest.raises(errors.CorruptRecordError), translate_errors("reading"):
        raise errors.CorruptRecordError("crc")
    with pytest.raises(ValueError, match="surprise"), translate_errors("reading"):
        raise ValueError("surprise")


def test_a_reason_is_one_line_that_names_the_class() -> None:
    assert reason_of(errors.KafkaTimeoutError("first\nsecond")) == "KafkaTimeoutError: first"
    assert reason_of(ValueError()) == "ValueError"


def test_without_tls_and_user_there_are_no_settings_for_them() -> None:
    settings = client_settings(LOOPBACK, KafkaSettings(), "me")

    assert settings["security_protocol"] == "PLAINTEXT"
    assert not [key for key in settings if key.startswith(("ssl_", "sasl_"))]


def test_tls_checks_the_brokers_certificate_and_its_name() -> None:
    settings = client_settings(["broker.example:9093"], KafkaSettings(tls=True), "me")

    assert settings["security_protocol"] == "SSL"
    context = settings["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_password_of_a_user_is_read_from_its_file(password_file: Path) -> None:
    kafka = KafkaSettings(tls=True, username="alice", password_file=password_file)
    settings = client_settings(["broker.example:9093"], kafka, "me")

    assert settings["security_protocol"] == "SASL_SSL"
    assert settings["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (settings["sasl_plain_username"], settings["sasl_plain_password"]) == ("alice", PASSWORD)
    assert PASSWORD not in f"{settings}"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_a_user_without_tls_is_allowed_on_the_loopback(address: str, password_file: Path) -> None:
    kafka = KafkaSettings(username="alice", password_file=password_file)

    assert client_settings([address], kafka, "me")["security_protocol"] == "SASL_PLAINTEXT"


@pytest.mark.parametrize("address", ["10.0.0.1:1", "broker.example:1", "localhost.example:1", "[2001:db8::1]:1"])
def test_a_user_without_tls_is_refused_elsewhere(address: str, password_file: Path) -> None:
    kafka = KafkaSettings(username="alice", password_file=password_file)

    with pytest.raises(ConfigError) as raised:
        client_settings(["127.0.0.1:1", address], kafka, "me")

    assert address in str(raised.value)
    assert "kafka.tls" in str(raised.value)
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_invalid_certificate_files_are_named(tmp_path: Path, password_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.ca_file: cannot use .*/absent: No such file"):
        client_settings(LOOPBACK, KafkaSettings(tls=True, ca_file=tmp_path / "absent"), "me")
    with pytest.raises(ConfigError, match=r"kafka\.ca_file: cannot use .*/password: .*; expected PEM"):
        client_settings(LOOPBACK, KafkaSettings(tls=True, ca_file=password_file), "me")
    mutual = KafkaSettings(tls=True, certificate_file=password_file, key_file=password_file)
    with pytest.raises(ConfigError, match=r"kafka\.certificate_file and kafka\.key_file: cannot use ") as raised:
        client_settings(LOOPBACK, mutual, "me")
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the library leaves refused sockets open
@pytest.mark.parametrize("client", [KafkaAdminClient, KafkaConsumer, KafkaProducer])
def test_a_client_without_a_broker_reports_why_and_leaves_no_thread(client: Callable[..., object]) -> None:
    settings = client_settings(["127.0.0.1:1"], KafkaSettings(), "unreachable") | {"bootstrap_timeout_ms": 200}

    with pytest.raises(errors.KafkaTimeoutError, match=r"last attempt: .*REFUSED"):
        client(**settings)

    assert not [thread for thread in threading.enumerate() if "unreachable" in thread.name]
    gc.collect()


def test_the_password_is_not_in_the_settings(password_file: Path) -> None:
    kafka = KafkaSettings(username="alice", password_file=password_file)

    assert PASSWORD not in repr(kafka)
    assert PASSWORD not in kafka.model_dump_json()


def test_an_empty_or_missing_password_file_is_named(password_file: Path) -> None:
    kafka = KafkaSettings(tls=True, username="alice", password_file=password_file)
    password_file.write_text("\n")
    with pytest.raises(ConfigError, match=f"{password_file} is empty"):
        client_settings(LOOPBACK, kafka, "me")
    password_file.unlink()
    with pytest.raises(ConfigError, match=f"cannot read the secret in {password_file}"):
        client_settings(LOOPBACK, kafka, "me")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"username": "alice"}, "username and password_file must be set together"),
        ({"tls": True, "certificate_file": "c"}, "certificate_file and key_file must be set together"),
        ({"ca_file": "c"}, "set tls to true"),
    ],
)
def test_settings_that_depend_on_each_other_are_validated_together(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        KafkaSettings.model_validate(fields)
