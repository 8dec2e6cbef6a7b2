"""TLS, mutual TLS and users on a real broker that requires them, with certificates created by the tests."""

from __future__ import annotations

import gc
import logging
import re
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import pytest

from shared.broker.kafka.broker import KafkaBroker
from shared.errors import ConfigError, TransientError
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.contract.database import empty_log
from tests.contract.records import advance, fill, new_record, next_offsets, poll_some, read_all, until, values
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import KafkaServer, SecureListeners
from tests.waiting import DEADLINE_S, wait_until

E = TypeVar("E", bound=Exception)

USER, PASSWORD, WRONG_PASSWORD = "alice", "correct-horse-battery", "staple-wrong-horse"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"

# The library leaves refused sockets open.
pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


class SecureKafka(NamedTuple):
    """A broker with authentication, and the directory of certificates and passwords."""

    server: KafkaServer
    files: Path
    conninfo: str

    def broker(self, listener: str, host: str = "127.0.0.1", **settings: Any) -> KafkaBroker:
        """A client of a listener. The values of `*_file` settings are names in `files`."""
        fields = {key: self.files / str(value) if key.endswith("_file") else value for key, value in settings.items()}
        kafka = KafkaSettings.model_validate({"environment": uuid4().hex, "session_timeout_s": 6} | fields)
        return KafkaBroker(f"kafka://{host}:{self.server.ports[listener]}", kafka, self.conninfo)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaServer, Path]]:
    files = tmp_path_factory.mktemp("secure")
    for name in ("ca", "another-ca"):
        create_certificate(files, name)
    for name in ("broker", "client"):
        create_certificate(files, name, by="ca")
    create_certificate(files, "stranger", by="another-ca")
    (files / "broker.pem").write_text((files / "broker.key").read_text() + (files / "broker.crt").read_text())
    (files / "password").write_text(f"{PASSWORD}\n")
    (files / "wrong-password").write_text(f"{WRONG_PASSWORD}\n")
    try:
        broker = KafkaServer(files, secure=secure_listeners(files))
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    broker.start()
    try:
        yield broker, files
    finally:
        broker.stop()


@pytest.fixture
def log() -> Iterator[StringIO]:
    """The log of the library. Not through pytest, because its log records would keep the library's sockets open."""
    text, logger = StringIO(), logging.getLogger("kafka")
    handler, level = logging.StreamHandler(text), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield text
    logger.propagate = True
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def kafka(server: tuple[KafkaServer, Path], log: StringIO, request: pytest.FixtureRequest) -> Iterator[SecureKafka]:
    """After each test, no log of the client or the broker may contain a password."""
    with empty_log(request.getfixturevalue("postgres")) as url:
        yield SecureKafka(*server, url)
    gc.collect()
    logs = log.getvalue() + server[0].log_file.read_text()
    assert "bootstrap" in logs
    assert PASSWORD not in logs
    assert WRONG_PASSWORD not in logs


def create_certificate(directory: Path, name: str, by: str = "") -> None:
    """Create a certificate for 127.0.0.1 signed by `by`, and its key; without `by`, a CA."""
    purpose = ["-addext", "basicConstraints=critical,CA:TRUE"]
    if by:
        purpose = [
            "-CA",
            f"{by}.crt",
            "-CAkey",
            f"{by}.key",
            "-addext",
            "basicConstraints=CA:FALSE",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        f"{name}.key",
        "-out",
        f"{name}.crt",
        "-subj",
        f"/CN={name}",
        *purpose,
    ]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert result.returncode == 0, result.stderr


def secure_listeners(files: Path) -> SecureListeners:
    return SecureListeners(
        protocols={"TLS": "SSL", "MUTUAL": "SSL", "USERS": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT"},
        settings={
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": files / "broker.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": files / "ca.crt",
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.users.scram-sha-512.sasl.jaas.config": _SCRAM,
            "listener.name.clear.scram-sha-512.sasl.jaas.config": _SCRAM,
        },
        scram=[f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"],
    )


TLS: dict[str, Any] = {"tls": True, "ca_file": "ca.crt"}
MUTUAL = TLS | {"certificate_file": "client.crt", "key_file": "client.key"}
USERS = TLS | {"username": USER, "password_file": "password"}
CLEAR: dict[str, Any] = {"username": USER, "password_file": "password"}


def connection_error(broker: KafkaBroker, before_each_try: Callable[[], object] = lambda: None) -> ConfigError:
    """The error of the first connection that is answered: a busy machine may answer too late."""
    with closing(broker):
        return wait_until(lambda: error_of(broker, ConfigError, before_each_try), forgive=TransientError)


def error_of(broker: KafkaBroker, kind: type[E], before: Callable[[], object] = lambda: None) -> E:
    before()
    with pytest.raises(kind) as raised:
        broker.health()
    return raised.value


def test_a_broker_whose_certificate_another_ca_signed_is_refused(kafka: SecureKafka) -> None:
    message = str(connection_error(kafka.broker("TLS", tls=True, ca_file="another-ca.crt")))

    assert message.startswith(f"Kafka at 127.0.0.1:{kafka.server.ports['TLS']} has a certificate that is not trusted")
    assert "issuer" in message
    assert message.endswith("check kafka.ca_file")
    assert "\n" not in message


def test_the_cas_of_the_system_are_used_by_default(kafka: SecureKafka) -> None:
    assert "not trusted" in str(connection_error(kafka.broker("TLS", tls=True)))


def test_a_certificate_of_another_host_is_refused(kafka: SecureKafka) -> None:
    assert "'localhost'" in str(connection_error(kafka.broker("TLS", host="localhost", **TLS)))


@pytest.mark.parametrize("client_certificate", [{}, {"certificate_file": "stranger.crt", "key_file": "stranger.key"}])
def test_mutual_tls_refuses_clients_without_a_certificate_of_its_ca(
    kafka: SecureKafka, client_certificate: dict[str, Any]
) -> None:
    message = str(connection_error(kafka.broker("MUTUAL", **TLS, **client_certificate)))

    assert "aborted the TLS handshake" in message
    assert "kafka.certificate_file" in message
    assert "\n" not in message


@pytest.mark.parametrize("wrong", [{"password_file": "wrong-password"}, {"username": "mallory"}])
def test_a_failed_login_is_reported_once_and_without_a_password(
    kafka: SecureKafka, wrong: dict[str, Any], log: StringIO
) -> None:
    def forget_earlier_lines() -> None:
        log.seek(0)
        log.truncate()

    error = connection_error(kafka.broker("USERS", **USERS | wrong), forget_earlier_lines)

    assert log.getvalue().count("Bootstrap connection to") == 1, "the first connection must report it"

    assert "refused the login (Authentication failed" in str(error)
    assert "kafka.password_file" in str(error)
    trace = "".join(traceback.format_exception(error))
    assert PASSWORD not in trace
    assert WRONG_PASSWORD not in trace


def test_an_unsupported_mechanism_is_reported(kafka: SecureKafka) -> None:
    assert "check kafka.username" in str(connection_error(kafka.broker("USERS", **USERS, mechanism="SCRAM-SHA-256")))


def refusal_of(connect: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError, match="not trusted") as raised:
        connect()
    return raised.value


def test_consumers_and_producers_report_an_untrusted_certificate_too(kafka: SecureKafka) -> None:
    """They have their own connections, and the settings of the broker may have changed since its last request."""
    topic = f"in-{uuid4().hex}"
    with closing(kafka.broker("TLS", **TLS)) as broker:
        broker.ensure_topics([TopicSpec(topic, 1)])
        broker._kafka = KafkaSettings(
            tls=True, ca_file=kafka.files / "another-ca.crt"
        )  # as if the file had been replaced
        wait_until(lambda: refusal_of(lambda: broker.consumer("group", [topic], "0")), forgive=TransientError)
        wait_until(lambda: refusal_of(lambda: broker.producer("0")), forgive=TransientError)


def test_tls_on_a_listener_without_tls_reports_the_last_error(kafka: SecureKafka) -> None:
    """Not always of the first connection: a busy machine may answer too late."""
    with closing(kafka.broker("CLEAR", **TLS)) as broker:
        wait_until(lambda: re.search("last attempt: .*SSL", str(error_of(broker, TransientError))))


# The last test, because pytest keeps the errors of the tests before it, and with them the sockets of the library.
@pytest.mark.parametrize(
    ("listener", "settings"), [("TLS", TLS), ("MUTUAL", MUTUAL), ("USERS", USERS), ("CLEAR", CLEAR)]
)
def test_a_unit_is_committed_over_every_listener(kafka: SecureKafka, listener: str, settings: dict[str, Any]) -> None:
    source, sink = f"in-{uuid4().hex}", f"out-{uuid4().hex}"
    with closing(kafka.broker(listener, **settings)) as broker:
        broker.ensure_topics([TopicSpec(source, 1), TopicSpec(sink, 1)])
        fill(broker, source, ["a", "b", "c"])
        with closing(broker.consumer("group", [source], "0")) as consumer, closing(broker.producer("0")) as producer:
            polled = poll_some(consumer)
            with producer.unit() as unit:
                unit.append([new_record(sink, value.upper()) for value in values(polled.records)])
                advance(unit, polled)
                unit.commit()

        # Committed records become visible with a delay: Kafka writes its markers after its reply.
        until(lambda: values(read_all(broker, sink)) == ["A", "B", "C"])
        until(lambda: broker.committed("group", [source]) == next_offsets(polled))
