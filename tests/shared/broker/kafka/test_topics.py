"""Topics on a real Kafka: their creation, their settings, and the detection of recreated topics."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from shared.broker.kafka.broker import KafkaBroker
from shared.broker.kafka.topics import KafkaTopics
from shared.broker.record_size import TOPIC_LIMIT_BYTES
from shared.errors import ConfigError
from shared.settings.sections import KafkaSettings
from shared.topics import OUTBOX_CURSORS, TopicSpec
from tests.contract.records import until
from tests.kafka.server import KEEPS_OFFSETS
from tests.kafka.use import KafkaInUse

DAY_S = 24 * 60 * 60

# The library leaves refused sockets open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture
def admin(kafka: KafkaInUse) -> Iterator[KafkaAdminClient]:
    """New topics are deleted after the test."""
    with kafka.empty(), closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        yield admin
    gc.collect()


def unique_name() -> str:
    return f"topic-{uuid4().hex}"


def ensure(admin: KafkaAdminClient, spec: TopicSpec, **settings: Any) -> dict[str, str]:
    """Ensures the topic; returns its configuration in Kafka."""
    KafkaTopics(admin).ensure([spec], KafkaSettings(**settings))
    resource = ConfigResource(ConfigResourceType.TOPIC, spec.name)
    configs = admin.describe_configs([resource], config_filter="all")["topic"][spec.name]
    return {key: each["value"] for key, each in configs.items()}


def test_a_topic_is_created_as_specified(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 3, retention_s=2 * DAY_S, retention_bytes=3_000_000)

    configs = ensure(admin, spec)

    (described,) = admin.describe_topics([spec.name])
    assert len(described["partitions"]) == 3
    assert configs["cleanup.policy"] == "delete"
    assert configs["retention.ms"] == str(2 * DAY_S * 1000)
    assert configs["retention.bytes"] == "1000000", "a partition gets a third of the limit of the topic"
    assert configs["max.message.bytes"] == str(TOPIC_LIMIT_BYTES)


def test_without_limits_everything_is_kept(admin: KafkaAdminClient) -> None:
    configs = ensure(admin, TopicSpec(unique_name(), 1, retention_s=None))

    assert (configs["retention.ms"], configs["retention.bytes"]) == ("-1", "-1")


def test_keyed_state_is_compacted(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 1, None, compacted=True)

    configs = ensure(admin, spec)

    assert configs["cleanup.policy"] == "compact"
    assert int(configs["segment.bytes"]) <= 16 * 1024 * 1024, "only closed segments are compacted"
    assert int(configs["segment.ms"]) <= DAY_S * 1000
    assert KafkaTopics(admin).get(spec.name).compacted


def test_keyed_state_with_a_limit_is_removed_too(admin: KafkaAdminClient) -> None:
    configs = ensure(admin, TopicSpec(unique_name(), 1, retention_s=2 * DAY_S, compacted=True))

    assert set(configs["cleanup.policy"].split(",")) == {"compact", "delete"}
    assert configs["retention.ms"] == str(2 * DAY_S * 1000)


def test_replication_follows_the_settings(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 2)

    configs = ensure(admin, spec, replication_factor=1, min_insync_replicas=2)

    (described,) = admin.describe_topics([spec.name])
    assert [len(partition["replica_nodes"]) for partition in described["partitions"]] == [1, 1]
    assert configs["min.insync.replicas"] == "2"


def test_more_replicas_than_brokers_are_refused_with_a_reason(admin: KafkaAdminClient) -> None:
    brokers = len(admin.describe_cluster()["brokers"])
    spec = TopicSpec(unique_name(), 1)

    with pytest.raises(ConfigError, match=f"creating topic '{spec.name}': Kafka refuses: .*[Rr]eplication"):
        ensure(admin, spec, replication_factor=brokers + 1)


def test_retention_follows_the_settings(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 2, retention_s=DAY_S)
    assert ensure(admin, spec)["retention.ms"] == str(DAY_S * 1000)

    ensure(admin, TopicSpec(spec.name, 2, retention_s=3 * DAY_S, retention_bytes=500), min_insync_replicas=1)

    def is_updated() -> bool:
        configs = ensure(admin, TopicSpec(spec.name, 2, retention_s=3 * DAY_S, retention_bytes=500))
        return (configs["retention.ms"], configs["retention.bytes"]) == (str(3 * DAY_S * 1000), "250")

    until(is_updated)


def test_other_settings_of_an_operator_are_kept(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 1, retention_s=DAY_S)
    ensure(admin, spec)
    other_settings = {"segment.ms": "7200000"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name, other_settings)])

    def is_updated() -> bool:
        configs = ensure(admin, TopicSpec(spec.name, 1, retention_s=2 * DAY_S))
        return configs["retention.ms"] == str(2 * DAY_S * 1000)

    until(is_updated)
    assert ensure(admin, TopicSpec(spec.name, 1, retention_s=2 * DAY_S))["segment.ms"] == "7200000"


def test_a_different_number_of_partitions_is_refused(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 2)
    ensure(admin, spec)

    with pytest.raises(ConfigError, match=f"'{spec.name}' has 2 partitions, settings say 3; .*set it back"):
        ensure(admin, TopicSpec(spec.name, 3))


def test_the_error_for_a_missing_topic_says_how_to_create_it(admin: KafkaAdminClient) -> None:
    with pytest.raises(ConfigError, match=r"describing topic 'nowhere': .*`headrace migrate` creates"):
        KafkaTopics(admin).get("nowhere")


def test_creating_topics_again_changes_nothing(admin: KafkaAdminClient) -> None:
    spec = TopicSpec(unique_name(), 2)
    ensure(admin, spec)
    before = KafkaTopics(admin).get(spec.name)

    ensure(admin, spec)

    assert KafkaTopics(admin).get(spec.name) == before


def test_the_cursor_topic_of_the_outbox_is_created_too(
    kafka: KafkaInUse, admin: KafkaAdminClient, database_url: str
) -> None:
    with closing(
        KafkaBroker(f"kafka://{kafka.bootstrap}", KafkaSettings(environment=uuid4().hex), database_url)
    ) as broker:
        broker.ensure_topics([TopicSpec(unique_name(), 1)])

    assert KafkaTopics(admin).get(OUTBOX_CURSORS)[2:] == (1, True)


def test_the_brokers_retention_of_offsets_is_read(kafka: KafkaInUse, database_url: str) -> None:
    kafka.require_own()
    with closing(KafkaBroker(f"kafka://{kafka.bootstrap}", KafkaSettings(), database_url)) as broker:
        assert broker.offsets_retention_s() == KEEPS_OFFSETS["offsets.retention.minutes"] * 60
