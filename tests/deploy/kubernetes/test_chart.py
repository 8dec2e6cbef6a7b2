"""The chart renders with every values file into the expected resources, which Kubernetes' schemas accept."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.deploy.kubernetes.chart import CHART, VALUES, documents_of, helm, of_kind, text_of, values_option
from tests.deploy.kubernetes.tools import core_schemas, tool

pytestmark = pytest.mark.helm
each_values = pytest.mark.parametrize("values", VALUES)

ALWAYS = {
    "CronJob": 2, "Deployment": 6, "Job": 1, "NetworkPolicy": 7, "PersistentVolumeClaim": 3, "Pod": 1,
    "PodDisruptionBudget": 5, "Service": 5, "ServiceAccount": 6,
}  # fmt: skip
INTERNAL = {"NetworkPolicy": 7, "Secret": 2, "Service": 6, "StatefulSet": 1}
MONITORING = {"ConfigMap": 7, "PodMonitor": 1, "PrometheusRule": 1}
KINDS = {
    "default": ALWAYS | INTERNAL,
    "dev": ALWAYS | INTERNAL | {"Deployment": 7, "NetworkPolicy": 9, "Service": 7},
    "small": ALWAYS
    | MONITORING
    | {"Cluster": 1, "Kafka": 1, "KafkaNodePool": 1, "KafkaTopic": 17, "KafkaUser": 6, "Secret": 2},
    "production": ALWAYS | MONITORING | {"ExternalSecret": 4, "ScaledObject": 4},
    "notifier": ALWAYS | INTERNAL | {"ConfigMap": 1, "NetworkPolicy": 8},
}
CUSTOM = {
    "Cluster", "ExternalSecret", "Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser", "PodMonitor", "PrometheusRule",
    "ScaledObject", "ScheduledBackup",
}  # fmt: skip


@each_values
def test_lint_finds_nothing(values: str) -> None:
    process = helm("lint", "--strict", CHART, *values_option(values))

    assert process.returncode == 0, process.stdout + process.stderr
    assert not re.search(r"WARNING|ERROR", process.stdout)


@each_values
def test_the_resources_of_a_values_file_are_as_expected(values: str) -> None:
    assert Counter(document["kind"] for document in documents_of(values)) == Counter(KINDS[values])


@each_values
def test_no_two_resources_have_the_same_kind_and_name(values: str) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in documents_of(values)]

    assert len(names) == len(set(names))


@each_values
def test_every_resource_is_labelled_with_its_release(values: str) -> None:
    for document in documents_of(values):
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "headrace"
        assert labels["app.kubernetes.io/instance"] == "headrace"
        assert labels["app.kubernetes.io/component"]
        assert document["metadata"]["namespace"] == "headrace"


@each_values
def test_kubernetes_schemas_accept_every_resource(values: str, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(text_of(values))
    location = f"{core_schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    options = [
        "-strict",
        "-summary",
        "-output",
        "json",
        "-schema-location",
        location,
        "-skip",
        ",".join(sorted(CUSTOM)),
    ]

    process = subprocess.run([tool("kubeconform"), *options, manifest], check=False, capture_output=True, text=True)

    assert process.returncode == 0, process.stdout + process.stderr
    summary = json.loads(process.stdout)["summary"]
    expected = KINDS[values]
    assert summary["valid"] == sum(count for kind, count in expected.items() if kind not in CUSTOM)
    assert summary["skipped"] == sum(count for kind, count in expected.items() if kind in CUSTOM)


def test_strict_schemas_refuse_an_unknown_field(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(text_of("default").replace("clusterIP: None", "clusterIp: None"))
    location = f"{core_schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"

    command = [tool("kubeconform"), "-strict", "-schema-location", location, str(manifest)]
    process = subprocess.run(command, check=False, capture_output=True, text=True)

    assert process.returncode == 1
    assert "clusterIp" in process.stdout


def test_two_releases_share_no_name() -> None:
    options = ("--set", "database.existingSecret=a", "--set", "admin.existingSecret=b")
    first = documents_of("dev", *options)
    second = documents_of("dev", *options, "--set", "fullnameOverride=other")

    assert not {document["metadata"]["name"] for document in first} & {
        document["metadata"]["name"] for document in second
    }


def test_a_tag_and_a_registry_apply_to_every_image_of_headrace() -> None:
    documents = documents_of("production", "--set", "image.tag=1.2.3")

    images = {
        container["image"]
        for deployment in of_kind(documents, "Deployment").values()
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }

    assert all(re.fullmatch(r"registry\.example\.com/headrace/\w+:1\.2\.3", image) for image in images)


def test_a_digest_replaces_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    documents = documents_of("default", "--set", f"services.loader.image.digest={digest}")

    loader = of_kind(documents, "Deployment")["headrace-loader"]["spec"]["template"]["spec"]["containers"][0]

    assert loader["image"] == f"headrace/loader@{digest}"
