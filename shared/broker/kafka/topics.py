"""Creates and describes topics on Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from shared.broker.kafka.client import translated
from shared.errors import ConfigError, TransientError
from shared.readiness import briefly
from shared.retry import Retry
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec

# Large enough for any single record. A page of a source is far smaller; a source's whole document may be larger.
LARGEST_RECORD_BYTES = 8 * 1024 * 1024


class KafkaTopic(NamedTuple):
    id: UUID
    name: str
    partitions: int
    compacted: bool


class KafkaTopics:
    """The topics by name, described at the first request."""

    def __init__(self, admin: KafkaAdminClient, ready: Retry | None = None) -> None:
        """`readiness_retry`: how to wait for a cluster that is still preparing what a request needs."""
        self._admin = admin
        self._ready = ready or briefly()
        self._known: dict[str, KafkaTopic] = {}

    def get(self, name: str) -> KafkaTopic:
        if name not in self._known:
            self._known[name] = self._ready.call(self._describe, name)
        return self._known[name]

    def ensure(self, specs: Sequence[TopicSpec], kafka: KafkaSettings) -> None:
        """Create the missing topics and update the settings of the existing ones. Several processes may do it at the
        same time."""
        # A slow broker may create the topic but not answer in time; the request is then repeated.
        patient = replace(self._ready, on=TransientError)
        for spec in specs:
            patient.call(self._create, spec, kafka)
            found = self._known[spec.name] = self._ready.call(self._describe, spec.name)
            if found.partitions != spec.partitions:
                raise ConfigError(
                    f"topic {spec.name!r} has {found.partitions} partitions, settings say {spec.partitions};"
                    " the number cannot change, because keys would move to other partitions: set it back"
                )

    def _create(self, spec: TopicSpec, kafka: KafkaSettings) -> None:
        shape = {"num_partitions": spec.partitions, "replication_factor": kafka.replication_factor or -1}
        topic = {**shape, "configs": configs_of(spec, kafka)}
        with translated(f"creating topic {spec.name!r}"):
            try:
                self._admin.create_topics({spec.name: topic}, wait_for_metadata=True)
            except errors.TopicAlreadyExistsError:
                self._admin.wait_for_topics([spec.name])
                self._follow(spec, kafka)

    def _follow(self, spec: TopicSpec, kafka: KafkaSettings) -> None:
        wanted = configs_of(spec, kafka)
        there = self._configs(spec.name, list(wanted))
        if changed := {key: value for key, value in wanted.items() if there[key] != value}:
            self._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name, changed)])

    def _describe(self, name: str) -> KafkaTopic:
        with translated(f"describing topic {name!r}"):
            found = self._admin.describe_topics([name])[0]
            if found["error_code"]:
                raise errors.for_code(found["error_code"])
            compacted = "compact" in self._configs(name, ["cleanup.policy"])["cleanup.policy"]
        return KafkaTopic(UUID(str(found["topic_id"])), name, len(found["partitions"]), compacted)

    def _configs(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        asked = ConfigResource(ConfigResourceType.TOPIC, name, list(keys))
        found = self._admin.describe_configs([asked], config_filter="all")["topic"][name]
        return {key: found[key]["value"] for key in keys}


def configs_of(spec: TopicSpec, kafka: KafkaSettings) -> dict[str, str]:
    """A topic's settings as Kafka topic configs."""
    retention_ms = -1 if spec.retention_s is None else int(spec.retention_s * 1000)
    # Kafka limits bytes per partition, a spec per topic.
    retention_bytes = -1 if spec.retention_bytes is None else max(1, spec.retention_bytes // spec.partitions)
    kept = (
        {"cleanup.policy": "compact"}
        if spec.compacted
        else {"cleanup.policy": "delete", "retention.ms": str(retention_ms), "retention.bytes": str(retention_bytes)}
    )
    replicas = kafka.min_insync_replicas
    return (
        kept
        | {"max.message.bytes": str(LARGEST_RECORD_BYTES)}
        | ({} if replicas is None else {"min.insync.replicas": str(replicas)})
    )
