"""Renders the chart, and reads pods, containers and variables of the rendered resources."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from shared.topics import SERVICES
from tests.deploy.kubernetes.tools import tool

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "headrace"
Document = dict[str, Any]
# The values files, the defaults alone, and the defaults with everything that the notifier can have.
VALUES = ("default", "dev", "small", "production", "notifier")
NOTIFIER_VALUES = Path(__file__).with_name("values-notifier.yaml")
SECRETS_DIR = "/run/secrets/headrace/"


class Pod(NamedTuple):
    """A pod, or the template of pods, with the resource that makes it."""

    kind: str
    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def containers(self) -> list[dict[str, Any]]:
        containers: list[dict[str, Any]] = self.spec["containers"]
        return [*self.spec.get("initContainers", []), *containers]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *arguments], check=False, capture_output=True, text=True)


def values_option(values: str) -> list[str]:
    if values == "default":
        return []
    return ["--values", str(NOTIFIER_VALUES if values == "notifier" else CHART / f"values-{values}.yaml")]


@cache
def text_of(values: str, *options: str) -> str:
    """The output of `helm template` for a values file."""
    command = ["template", "headrace", str(CHART), "--namespace", "headrace", *values_option(values), *options]
    process = helm(*command)
    assert process.returncode == 0, process.stderr
    return process.stdout


@cache
def documents_of(values: str, *options: str) -> list[Document]:
    """The rendered resources. Read only: all callers get the same objects."""
    # The C loader needs a tenth of the time.
    return [each for each in yaml.load_all(text_of(values, *options), Loader=yaml.CSafeLoader) if each]


def of_kind(documents: Sequence[Document], kind: str) -> dict[str, Document]:
    """The resources of a kind by name."""
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


def pods_of(documents: Sequence[Document]) -> list[Pod]:
    return [pod for document in documents for pod in _pods(document)]


def service_pods(documents: Sequence[Document]) -> dict[str, Pod]:
    """The pods of the five services by service."""
    return {pod.component: pod for pod in pods_of(documents) if pod.component in SERVICES}


def variables_of(container: dict[str, Any]) -> dict[str, str]:
    """The variables with a literal value."""
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def secret_files(pod: Pod) -> dict[str, tuple[str, str]]:
    """Secret and key of each file that the pod mounts from a Secret, by file name."""
    return {
        item["path"]: (source["secret"]["name"], item["key"])
        for volume in pod.spec.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    }


def config_files(documents: Sequence[Document], pod: Pod) -> set[str]:
    """The paths of the files that containers of the pod mount from ConfigMaps."""
    maps = of_kind(documents, "ConfigMap")
    volumes = {
        volume["name"]: maps[volume["configMap"]["name"]]["data"]
        for volume in pod.spec.get("volumes", [])
        if "configMap" in volume
    }
    return {
        f"{mount['mountPath']}/{file}"
        for container in pod.containers
        for mount in container.get("volumeMounts", [])
        for file in volumes.get(mount["name"], ())
    }


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector, with `In` expressions at most, selects these labels."""
    matches = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return matches and all(labels.get(each["key"]) in each["values"] for each in expressions)


def _pods(document: Document) -> Iterator[Pod]:
    kind, name, spec = document["kind"], document["metadata"]["name"], document.get("spec", {})
    if kind == "Pod":
        yield Pod(kind, name, document["metadata"]["labels"], spec)
        return
    if kind == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if kind in {"CronJob", "Deployment", "Job", "StatefulSet"}:
        template = spec["template"]
        yield Pod(kind, name, template["metadata"]["labels"], template["spec"])
