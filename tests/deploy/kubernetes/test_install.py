"""The file for `kubectl apply` is the rendered chart, and the example of an overlay applies to it."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.chart import of_kind, pods_of, secret_files
from tests.deploy.kubernetes.install_file import INSTALL, render_install
from tests.deploy.kubernetes.tools import tool
from tests.shared.generated import WRITE

pytestmark = pytest.mark.helm
# Secrets that docs/kubernetes.md creates.
CREATED = {"headrace-admin", "headrace-database"}


def resources(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


def test_the_file_is_the_rendered_chart() -> None:
    expected = render_install()
    if os.environ.get(WRITE) == "1":
        INSTALL.write_text(expected)

    assert INSTALL.exists()
    assert resources(INSTALL.read_text()) == resources(expected), f"install.yaml is out of date; {WRITE}=1 updates it"


def test_the_file_contains_no_secret() -> None:
    documents = resources(INSTALL.read_text())

    assert not of_kind(documents, "Secret")
    assert {secret for pod in pods_of(documents) for secret, _ in secret_files(pod).values()} == CREATED


def test_the_example_of_an_overlay_changes_what_it_names() -> None:
    command = [tool("kubectl"), "kustomize", str(INSTALL.parent)]
    process = subprocess.run(command, check=False, capture_output=True, text=True)

    assert process.returncode == 0, process.stderr
    documents = resources(process.stdout)
    deployments = of_kind(documents, "Deployment")
    images = {container["image"] for pod in pods_of(documents) for container in pod.containers}
    containers = {name: each["spec"]["template"]["spec"]["containers"][0] for name, each in deployments.items()}
    assert {image.rpartition("/")[0] for image in images} == {"registry.example.com/headrace", ""}
    assert deployments["headrace-cleaner"]["spec"]["replicas"] == 2
    assert {"name": "HEADRACE_FETCHER__FROM", "value": "2026-01-01"} in containers["headrace-fetcher"]["env"]
    assert containers["headrace-predictor"]["resources"]["limits"] == {"memory": "8Gi"}
    assert len(documents) == len(resources(INSTALL.read_text()))
