"""Creates and describes topics on Kafka."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from shared.broker.kafka.client import translate_errors
from shared.broker.record_size import TOPIC_LIMIT_BYTES
from shared.errors import ConfigError, TransientError
from shared.readiness import retry_briefly
from shared.retry import Retry
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec

# Kafka compacts closed segments only. Its defaults (1 GiB, 7 days) let a long backfill leave millions of old values,
# all of which are read at each start.
COMPACTED_SEGMENTS = {"segment.bytes": str(16 * 1024 * 1024), "segment.ms": str(24 * 60 * 60 * 1000)}


class KafkaTopic(NamedTuple):
    id: UUID
    name: str
    partitions: int
    compacted: bool


class KafkaTopics:
    """The topics by name, described at the first request."""

    def __init__(self, admin: KafkaAdminClient, readiness_retry: Retry | None = None) -> None:
        """`readiness_retry`: how to wait for a cluster that is still preparing what a request needs."""
        self._admin = admin
        self._readiness_retry = readiness_retry or retry_briefly()
        self._by_name: dict[str, KafkaTopic] = {}

    def get(self, name: str) -> KafkaTopic:
        if name not in self._by_name:
            self._by_name[name] = self._readiness_retry.call(self._describe, name)
        return self._by_name[name]

    def ensure(self, specs: Sequence[TopicSpec], kafka: KafkaSettings) -> None:
        """Create the missing topics and update the settings of the existing ones. Several processes may do it at the
        same time."""
        # A slow broker may create the topic but not answer in time; the request is then repeated.
        patient = replace(self._readiness_retry, retryable=TransientError)
        for spec in specs:
            patient.call(self._create, spec, kafka)
            topic = self._by_name[spec.name] = self._readiness_retry.call(self._describe, spec.name)
            if topic.partitions != spec.partitions:
                raise ConfigError(
                    f"topic {spec.name!r} has {topic.partitions} partitions, settings say {spec.partitions};"
                    " the number cannot change, because keys would move to other partitions: set it back"
                )

    def _create(self, spec: TopicSpec, kafka: KafkaSettings) -> None:
        shape = {"num_partitions": spec.partitions, "replication_factor": kafka.replication_factor or -1}
        topic = {**shape, "configs": configs_of(spec, kafka)}
        with translate_errors(f"creating topic {spec.name!r}"):
            try:
                self._admin.create_topics({spec.name: topic}, wait_for_metadata=True)
            except errors.TopicAlreadyExistsError:
                self._admin.wait_for_topics([spec.name])
                self._update_configs(spec, kafka)

    def _update_configs(self, spec: TopicSpec, kafka: KafkaSettings) -> None:
        target = configs_of(spec, kafka)
        current = self._configs(spec.name, list(target))
        if changed := {key: value for key, value in target.items() if current[key] != value}:
            self._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name, changed)])

    def current_ids(self, names: Collection[str]) -> dict[str, UUID]:
        """The ids of the topics as they are now. A topic that was deleted and made anew has another one."""
        descriptions = [self._readiness_retry.call(self._metadata, name) for name in sorted(names)]
        return {str(each["name"]): UUID(str(each["topic_id"])) for each in descriptions}

    def _metadata(self, name: str) -> dict[str, Any]:
        with translate_errors(f"describing topic {name!r}"):
            description: dict[str, Any] = self._admin.describe_topics([name])[0]
            if description["error_code"]:
                raise errors.for_code(description["error_code"])
            return description

    def _describe(self, name: str) -> KafkaTopic:
        description = self._metadata(name)
        with translate_errors(f"describing topic {name!r}"):
            compacted = "compact" in self._configs(name, ["cleanup.policy"])["cleanup.policy"]
        return KafkaTopic(UUID(str(description["topic_id"])), name, len(description["partitions"]), compacted)

    def _configs(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, list(keys))
        configs = self._admin.describe_configs([resource], config_filter="all")["topic"][name]
        return {key: configs[key]["value"] for key in keys}


def configs_of(spec: TopicSpec, kafka: KafkaSettings) -> dict[str, str]:
    """A topic's settings as Kafka topic configs."""
    retention_ms = -1 if spec.retention_s is None else int(spec.retention_s * 1000)
    # Kafka limits bytes per partition, a spec per topic.
    retention_bytes = -1 if spec.retention_bytes is None else max(1, spec.retention_bytes // spec.partitions)
    if spec.compacted:
        policy = "compact" if spec.retention_s is None else "compact,delete"
        cleanup_configs = {"cleanup.policy": policy, "retention.ms": str(retention_ms), **COMPACTED_SEGMENTS}
    else:
        limits = {"retention.ms": str(retention_ms), "retention.bytes": str(retention_bytes)}
        cleanup_configs = {"cleanup.policy": "delete", **limits}
    replicas = kafka.min_insync_replicas
    return (
        cleanup_configs
        # A replica that lacks committed records must not become the leader: their readers would never know.
        | {"max.message.bytes": str(TOPIC_LIMIT_BYTES), "unclean.leader.election.enable": "false"}
        | ({} if replicas is None else {"min.insync.replicas": str(replicas)})
    )
