"""Custom resources fit the schemas of their operators, and the topics and rights of the code."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.broker.kafka.topics import configs_of
from shared.settings.sections import KafkaSettings
from shared.topics import (
    FETCHER_CURSORS,
    JOB_CURSORS,
    OUTBOX_CURSORS,
    OUTBOX_TOPICS,
    SERVICES,
    WRITES,
    TopicSpec,
    dead_letter_topic,
    retry_topic,
    topic_specs,
)
from tests.deploy.kubernetes.chart import VALUES, documents_of, of_kind, text_of
from tests.deploy.kubernetes.tools import core_schemas, custom_schemas, tool

# The services whose outputs a relay copies to Kafka.
RELAYING = ("loader", "notifier")


@pytest.mark.crds
@pytest.mark.parametrize("values", VALUES)
def test_every_schema_accepts_the_resources(values: str, tmp_path: Path) -> None:
    backup = ("--set", "database.cloudnativepg.scheduledBackup.enabled=true")
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(text_of(values, *backup))
    locations = [
        f"{core_schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        f"{custom_schemas()}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json",
    ]
    options = ["-strict", *(word for location in locations for word in ("-schema-location", location))]

    process = subprocess.run([tool("kubeconform"), *options, manifest], check=False, capture_output=True, text=True)

    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.helm
def test_the_topics_are_those_of_the_code() -> None:
    topics = of_kind(documents_of("small"), "KafkaTopic")
    kafka = KafkaSettings(replication_factor=3, min_insync_replicas=2)
    specs = [*topic_specs(), TopicSpec(OUTBOX_CURSORS, 1, None, compacted=True)]

    actual = {
        name: (topic["spec"]["partitions"], {key: str(value) for key, value in topic["spec"]["config"].items()})
        for name, topic in topics.items()
    }

    assert actual == {spec.name: (spec.partitions, configs_of(spec, kafka)) for spec in specs}
    assert {topic["spec"]["replicas"] for topic in topics.values()} == {3}


@pytest.mark.helm
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_write_its_own_topics_only(service: str) -> None:
    acls = acls_of(service)
    relayed = {*OUTBOX_TOPICS, OUTBOX_CURSORS}
    own = {*WRITES[service], dead_letter_topic(service), retry_topic(service), JOB_CURSORS}
    expected = (
        own | (relayed if service in RELAYING else set()) | ({FETCHER_CURSORS} if service == "fetcher" else set())
    )

    assert names_with(acls, "topic", "Write") == expected
    assert names_with(acls, "topic", "Read") == {"*"}
    assert not {"Create", "Alter", "AlterConfigs", "Delete", "All"} & {
        operation for acl in acls for operation in acl["operations"]
    }


@pytest.mark.helm
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_use_its_own_group_and_transactions(service: str) -> None:
    acls = acls_of(service)
    relay = {"headrace.relay"} if service in RELAYING else set()

    assert names_with(acls, "group", "Read") == {f"headrace.{service}"} | relay
    assert names_with(acls, "transactionalId", "Write") == {f"headrace.{service}", "headrace.job-"} | relay


@pytest.mark.helm
def test_a_scaled_object_follows_the_unpaused_lag_of_its_service() -> None:
    documents = documents_of("production")
    scaled = of_kind(documents, "ScaledObject")

    assert scaled.keys() == {f"headrace-{service}" for service in SERVICES if service != "fetcher"}
    for name, each in scaled.items():
        trigger = each["spec"]["triggers"][0]
        service = name.removeprefix("headrace-")
        assert each["spec"]["scaleTargetRef"]["name"] == name
        assert trigger["metadata"]["query"] == f'sum(headrace:lag_unpaused:sum{{service="{service}"}})'
        assert 1 <= each["spec"]["minReplicaCount"] <= each["spec"]["maxReplicaCount"] <= 6


@pytest.mark.helm
def test_the_owner_of_the_cluster_may_create_the_roles_of_the_services() -> None:
    cluster = of_kind(documents_of("small"), "Cluster")["headrace-db"]

    assert cluster["spec"]["bootstrap"]["initdb"]["owner"] == "headrace_owner"
    assert {"name": "headrace_owner", "ensure": "present", "login": True, "createrole": True} in cluster["spec"][
        "managed"
    ]["roles"]


@pytest.mark.helm
def test_more_fields_of_the_cluster_can_be_set() -> None:
    option = "database.cloudnativepg.extraSpec.backup.volumeSnapshot.className=snapshots"
    cluster = of_kind(documents_of("small", "--set", option), "Cluster")["headrace-db"]

    assert cluster["spec"]["backup"] == {"volumeSnapshot": {"className": "snapshots"}}
    assert cluster["spec"]["instances"] == 2


@pytest.mark.helm
def test_an_external_secret_fills_each_secret_that_pods_mount() -> None:
    documents = documents_of("production")

    targets = {each["spec"]["target"]["name"] for each in of_kind(documents, "ExternalSecret").values()}

    assert targets == {"headrace-admin", "headrace-database", "headrace-kafka", "headrace-notifier"}
    assert not of_kind(documents, "Secret")


def acls_of(service: str) -> list[dict[str, Any]]:
    user = of_kind(documents_of("small"), "KafkaUser")[f"headrace-{service}"]
    acls: list[dict[str, Any]] = user["spec"]["authorization"]["acls"]
    return acls


def names_with(acls: list[dict[str, Any]], kind: str, operation: str) -> set[str]:
    """The names of the resources of a kind on which the operation is allowed."""
    return {
        acl["resource"]["name"] for acl in acls if acl["resource"]["type"] == kind and operation in acl["operations"]
    }


@pytest.mark.helm
def test_prometheus_has_the_rules_and_labels_of_the_compose_file() -> None:
    documents = documents_of("production")
    (rule,), (monitor,) = of_kind(documents, "PrometheusRule").values(), of_kind(documents, "PodMonitor").values()
    rules = Path(__file__).parents[3] / "deploy" / "prometheus" / "rules"

    files = [yaml.safe_load(file.read_text())["groups"] for file in sorted(rules.glob("*.yml"))]

    assert rule["spec"]["groups"] == [group for groups in files for group in groups]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"job", "service"}
