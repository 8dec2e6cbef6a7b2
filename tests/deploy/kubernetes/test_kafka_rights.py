"""The rights of the chart's Kafka users suffice for the pipeline, on a real Kafka that enforces them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType
from kafka.errors import TopicAuthorizationFailedError

from headrace.database.access import Access, prepare
from headrace.database.data_dir import DataDir
from headrace.database.embedded import EmbeddedPostgres
from headrace.processes.supervisor import Program, Supervisor
from headrace.run.options import RunOptions
from headrace.run.programs import common_environment, python, services
from shared.settings.sections import Settings
from shared.settings.values import read_secret
from shared.topics import SERVICES, STREAMS, WRITES, dead_letter_topic, retry_topic
from tests.deploy.kubernetes.chart import documents_of, of_kind
from tests.faults.observer import Observer
from tests.headrace import runs
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import FAST_START, KafkaServer, SecureListeners
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.helm]

PASSWORD = "made-up-password"
OPERATOR = "operator"
USERS = (*SERVICES, OPERATOR)
LISTENER = "USERS"
MECHANISM = "SCRAM-SHA-512"


class Installation(NamedTuple):
    """A Kafka with the users and rights of the chart, and a database. The topics exist, created by the operator."""

    kafka: KafkaServer
    access: Access
    data_dir: DataDir
    password_file: Path

    @property
    def broker_url(self) -> str:
        return f"kafka://127.0.0.1:{self.kafka.ports[LISTENER]}"

    def settings(self) -> Settings:
        login = {"username": user_name(OPERATOR), "password_file": self.password_file}
        return Settings.model_validate(
            {"data_dir": self.data_dir.path, "broker": {"url": self.broker_url}, "kafka": login}
        )

    def environment(self, user: str) -> dict[str, str]:
        return {
            "HEADRACE_BROKER__URL": self.broker_url,
            "HEADRACE_KAFKA__USERNAME": user_name(user),
            "HEADRACE_KAFKA__PASSWORD_FILE": str(self.password_file),
        }

    def producer(self, user: str) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=f"127.0.0.1:{self.kafka.ports[LISTENER]}",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism=MECHANISM,
            sasl_plain_username=user_name(user),
            sasl_plain_password=PASSWORD,
            transactional_id=f"headrace.{user}.of-a-test",
        )


def user_name(user: str) -> str:
    return f"headrace-{user}"


def rights(user: str) -> Iterator[ACL]:
    """The rights that the chart gives to the user, for Kafka's own authorizer."""
    resource = of_kind(documents_of("small"), "KafkaUser")[user_name(user)]
    for rule in resource["spec"]["authorization"]["acls"]:
        for operation in rule["operations"]:
            yield ACL(
                principal=f"User:{user_name(user)}",
                host="*",
                operation=ACLOperation[enum_name(operation)],
                permission_type=ACLPermissionType.ALLOW,
                resource_pattern=pattern(rule["resource"]),
            )


def pattern(resource: dict[str, str]) -> ResourcePattern:
    if resource["type"] == "cluster":
        return ResourcePattern(ResourceType.CLUSTER, "kafka-cluster")
    kinds = {"literal": ACLResourcePatternType.LITERAL, "prefix": ACLResourcePatternType.PREFIXED}
    return ResourcePattern(ResourceType[enum_name(resource["type"])], resource["name"], kinds[resource["patternType"]])


def enum_name(word: str) -> str:
    """DESCRIBE_CONFIGS of DescribeConfigs."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", word).upper()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    listeners = SecureListeners(
        protocols={LISTENER: "SASL_PLAINTEXT"},
        settings={
            "sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.{LISTENER.lower()}.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # the listeners without authentication
        },
        scram=tuple(f"{MECHANISM}=[name={user_name(user)},password={PASSWORD}]" for user in USERS),
    )
    try:
        server = KafkaServer(tmp_path_factory.mktemp("kafka"), secure=listeners, settings=FAST_START)
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    server.start()
    try:
        admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
        result = admin.create_acls([each for user in USERS for each in rights(user)])
        admin.close()
        assert result["failed"] == []
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def installation(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    data_dir = DataDir(folder / "data")
    data_dir.create()
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    server = EmbeddedPostgres(data_dir.path)
    made = Installation(kafka, Access(server, None), data_dir, password_file)
    server.start()
    try:
        prepare(made.access, made.settings())
        yield made
    finally:
        server.stop()


def test_days_go_through_the_pipeline_and_are_replayed(installation: Installation, tmp_path: Path) -> None:
    archive = runs.write_archive(tmp_path / "archive")
    observer = Observer(installation.access, installation.settings(), read_secret(installation.data_dir.create_token()))
    observer.expect(runs.DAYS)
    supervisor = Supervisor(programs(installation, archive, runs.DAYS))
    supervisor.start()
    try:
        finish(supervisor, observer, installation)
        events = count_events(installation)
        assert events == len(runs.DAYS) * runs.RACES

        replay = command(installation, "replay", "cleaner", "raw-events", "--from", "2020-01-01", "--wait")
        finish(supervisor, observer, installation)

        assert "succeeded" in replay
        assert count_events(installation) == events
        assert "No record is missing or duplicated" in command(installation, "audit")
    finally:
        supervisor.stop()
        observer.close()


def finish(supervisor: Supervisor, observer: Observer, installation: Installation) -> None:
    """Wait until no work remains. A refusal of Kafka ends a service or holds it back."""

    def is_finished() -> bool:
        died = [program.name for program in supervisor.step()]
        assert not died, f"{died} ended\n{runs.logs(installation.data_dir.path)}"
        return observer.remaining() == 0

    try:
        wait_until(is_finished, "the end of all work")
    except AssertionError as error:
        error.add_note(runs.logs(installation.data_dir.path))
        raise
    logs = runs.logs(installation.data_dir.path)
    assert "AuthorizationFailed" not in logs
    assert "not authorized" not in logs.lower()


def programs(installation: Installation, archive: Path, days: Iterable[date]) -> list[Program]:
    first, *_, last = days
    options = RunOptions(source="archive", archive=archive, from_date=first, to_date=last)
    plain = services(installation.access, installation.data_dir, options, False, None, installation.broker_url)
    return [
        replace(each, environment={**each.environment, **installation.environment(each.name.partition("-")[0])})
        for each in plain
    ]


def command(installation: Installation, *arguments: str) -> str:
    environment = common_environment(installation.data_dir) | installation.environment(OPERATOR)
    process = subprocess.run(
        python("-m", "headrace", *arguments), env=environment, capture_output=True, text=True, timeout=DEADLINE_S,
        check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def count_events(installation: Installation) -> int:
    with installation.access.connect() as connection:
        row: tuple[Any, ...] | None = connection.execute("SELECT count(*) FROM analytics.events").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_writes_its_own_topics_and_no_other(installation: Installation, service: str) -> None:
    topics = {each.resource_pattern.resource_name for each in rights(service) if each.operation == ACLOperation.WRITE}
    own = {*WRITES[service], dead_letter_topic(service), retry_topic(service)}
    producer = installation.producer(service)
    try:
        producer.init_transactions()
        with transaction(producer):
            for topic in own:
                producer.send(topic, b"{}").get(DEADLINE_S)
        for topic in set(STREAMS) - topics:
            with transaction(producer), pytest.raises(TopicAuthorizationFailedError):
                producer.send(topic, b"{}").get(DEADLINE_S)
    finally:
        producer.close()


@contextmanager
def transaction(producer: KafkaProducer) -> Iterator[None]:
    """A transaction that is aborted."""
    producer.begin_transaction()
    try:
        yield
    finally:
        producer.abort_transaction()
