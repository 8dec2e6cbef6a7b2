"""TLS, mutual TLS and users, on a real broker that wants them. Its certificates are made here, and last two days."""

from __future__ import annotations

import gc
import logging
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from shared.broker.kafka.broker import KafkaBroker
from shared.errors import ConfigError, TransientError
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.contract.database import empty_log
from tests.contract.records import advance, everything, fill, new, next_of, poll_some, until, values
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import Guarded, KafkaServer
from tests.waiting import DEADLINE_S

USER, PASSWORD, WRONG_PASSWORD = "alice", "correct-horse-battery", "staple-wrong-horse"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"

# The library leaves a socket open that was refused.
pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


class Guard(NamedTuple):
    """The broker that lets not everybody in, and the directory of certificates and passwords."""

    server: KafkaServer
    files: Path
    conninfo: str

    def broker(self, listener: str, host: str = "127.0.0.1", **settings: Any) -> KafkaBroker:
        """As a client would reach it; names of `*_file` settings are those of files here."""
        said = {key: self.files / str(value) if key.endswith("_file") else value for key, value in settings.items()}
        kafka = KafkaSettings.model_validate({"environment": uuid4().hex, "session_timeout_s": 6} | said)
        return KafkaBroker(f"kafka://{host}:{self.server.ports[listener]}", kafka, self.conninfo)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaServer, Path]]:
    files = tmp_path_factory.mktemp("guarded")
    for name in ("ca", "another-ca"):
        certify(files, name)
    for name in ("broker", "client"):
        certify(files, name, by="ca")
    certify(files, "stranger", by="another-ca")
    (files / "broker.pem").write_text((files / "broker.key").read_text() + (files / "broker.crt").read_text())
    (files / "password").write_text(f"{PASSWORD}\n")
    (files / "wrong-password").write_text(f"{WRONG_PASSWORD}\n")
    try:
        broker = KafkaServer(files, guarded=guarded(files))
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    broker.start()
    try:
        yield broker, files
    finally:
        broker.stop()


@pytest.fixture
def log() -> Iterator[StringIO]:
    """All that the library says; not through pytest, whose records would keep the library's sockets."""
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
def guard(server: tuple[KafkaServer, Path], log: StringIO, request: pytest.FixtureRequest) -> Iterator[Guard]:
    """No test leaves a password in a log, ours or the broker's."""
    with empty_log(request.getfixturevalue("postgres")) as url:
        yield Guard(*server, url)
    gc.collect()
    logs = log.getvalue() + server[0].log_file.read_text()
    assert "bootstrap" in logs
    assert PASSWORD not in logs
    assert WRONG_PASSWORD not in logs


def certify(directory: Path, name: str, by: str = "") -> None:
    """A certificate and its key, for 127.0.0.1; without `by`, one that signs others."""
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
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr


def guarded(files: Path) -> Guarded:
    return Guarded(
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
        scram=f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]",
    )


TLS: dict[str, Any] = {"tls": True, "ca_file": "ca.crt"}
MUTUAL = TLS | {"certificate_file": "client.crt", "key_file": "client.key"}
USERS = TLS | {"username": USER, "password_file": "password"}
CLEAR: dict[str, Any] = {"username": USER, "password_file": "password"}


def refused(broker: KafkaBroker) -> ConfigError:
    """What a client says to it, at the first try."""
    with closing(broker), pytest.raises(ConfigError) as raised:
        broker.health()
    return raised.value


def test_a_broker_whose_certificate_another_ca_signed_is_refused(guard: Guard) -> None:
    said = str(refused(guard.broker("TLS", tls=True, ca_file="another-ca.crt")))

    assert said.startswith(f"Kafka at 127.0.0.1:{guard.server.ports['TLS']} has a certificate that is not trusted")
    assert "issuer" in said
    assert said.endswith("check kafka.ca_file")
    assert "\n" not in said


def test_the_cas_of_the_system_are_used_by_default(guard: Guard) -> None:
    assert "not trusted" in str(refused(guard.broker("TLS", tls=True)))


def test_a_certificate_of_another_host_is_refused(guard: Guard) -> None:
    assert "'localhost'" in str(refused(guard.broker("TLS", host="localhost", **TLS)))


@pytest.mark.parametrize("ours", [{}, {"certificate_file": "stranger.crt", "key_file": "stranger.key"}])
def test_mutual_tls_refuses_clients_without_a_certificate_of_its_ca(guard: Guard, ours: dict[str, Any]) -> None:
    said = str(refused(guard.broker("MUTUAL", **TLS, **ours)))

    assert "aborted the TLS handshake" in said
    assert "kafka.certificate_file" in said
    assert "\n" not in said


@pytest.mark.parametrize("wrong", [{"password_file": "wrong-password"}, {"username": "mallory"}])
def test_a_failed_login_is_reported_once_and_without_a_password(guard: Guard, wrong: dict[str, Any], log: StringIO) -> None:
    error = refused(guard.broker("USERS", **USERS | wrong))

    assert log.getvalue().count("Bootstrap connection to") == 1, "it was heard at the first connection"

    assert "refused the login (Authentication failed" in str(error)
    assert "kafka.password_file" in str(error)
    said = "".join(traceback.format_exception(error))
    assert PASSWORD not in said
    assert WRONG_PASSWORD not in said


def test_an_unsupported_mechanism_is_reported(guard: Guard) -> None:
    assert "check kafka.username" in str(refused(guard.broker("USERS", **USERS, mechanism="SCRAM-SHA-256")))


def test_consumers_and_producers_report_an_untrusted_certificate_too(guard: Guard) -> None:
    """They connect by themselves: a password may have been changed since the broker was last asked."""
    topic = f"in-{uuid4().hex}"
    with closing(guard.broker("TLS", **TLS)) as broker:
        broker.ensure_topics([TopicSpec(topic, 1)])
        broker._kafka = KafkaSettings(tls=True, ca_file=guard.files / "another-ca.crt")  # as if the file was exchanged
        with pytest.raises(ConfigError, match="not trusted"):
            broker.consumer("group", [topic], "0")
        with pytest.raises(ConfigError, match="not trusted"):
            broker.producer("0")


def test_tls_on_a_listener_without_tls_reports_the_last_error(guard: Guard) -> None:
    with closing(guard.broker("CLEAR", **TLS)) as broker, pytest.raises(TransientError) as raised:
        broker.health()

    assert "last attempt: " in str(raised.value)
    assert "SSL" in str(raised.value)


# At the end, for pytest keeps what failed in the test before, and with it the library's sockets.
@pytest.mark.parametrize(
    ("listener", "settings"), [("TLS", TLS), ("MUTUAL", MUTUAL), ("USERS", USERS), ("CLEAR", CLEAR)]
)
def test_a_unit_is_committed_over_every_listener(guard: Guard, listener: str, settings: dict[str, Any]) -> None:
    source, sink = f"in-{uuid4().hex}", f"out-{uuid4().hex}"
    with closing(guard.broker(listener, **settings)) as broker:
        broker.ensure_topics([TopicSpec(source, 1), TopicSpec(sink, 1)])
        fill(broker, source, ["a", "b", "c"])
        with closing(broker.consumer("group", [source], "0")) as consumer, closing(broker.producer("0")) as producer:
            polled = poll_some(consumer)
            with producer.unit() as unit:
                unit.append([new(sink, value.upper()) for value in values(polled.records)])
                advance(unit, polled)
                unit.commit()

        # What was committed is visible soon: Kafka writes its markers after its answer.
        until(lambda: values(everything(broker, sink)) == ["A", "B", "C"])
        until(lambda: broker.committed("group", [source]) == next_of(polled))
