"""What lies beside the compose file: the script that makes secrets, and dashboards over metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.runtime.metrics import Metrics
from shared.topics import SERVICES

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A deploy directory of one's own, with nothing made in it yet."""
    (tmp_path / "secrets").mkdir()
    shutil.copy(DEPLOY / "make-secrets", tmp_path)
    return tmp_path


def test_every_secret_of_the_compose_file_is_made(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
    wanted = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {path.name for path in (installation / "secrets").iterdir()} == wanted


def test_secrets_differ_and_are_private(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    files = list((installation / "secrets").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == len(files)
    assert all(re.fullmatch("[0-9a-f]{64}", file.read_text()) for file in files)


def test_no_secret_is_shown(installation: Path) -> None:
    done = subprocess.run([installation / "make-secrets"], check=True, capture_output=True, text=True)

    assert not [file for file in (installation / "secrets").iterdir() if file.read_text() in done.stdout + done.stderr]


def test_a_secret_that_is_there_stays(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)
    before = {file.name: file.read_text() for file in (installation / "secrets").iterdir()}

    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    assert {file.name: file.read_text() for file in (installation / "secrets").iterdir()} == before


def test_containers_run_as_who_may_read_the_secrets(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    said = dict(line.split("=") for line in (installation / ".env").read_text().splitlines())
    owner = (installation / "secrets" / "admin.token").stat()
    assert (int(said["HEADRACE_UID"]), int(said["HEADRACE_GID"])) == (owner.st_uid, owner.st_gid)
    assert owner.st_uid != 0


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_shows_only_metrics_that_exist(path: Path) -> None:
    dashboard: dict[str, Any] = json.loads(path.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shown = {name for expression in expressions for name in re.findall(r"headrace_\w+", expression)}
    there = {
        f"{metric.name}{ending}"
        for metric in Metrics().definitions
        for ending in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
    }

    assert shown
    assert shown <= there


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_groups_only_by_labels_that_exist(path: Path) -> None:
    labels = {metric.name: {*metric.labels, "service", "le"} for metric in Metrics().definitions}
    dashboard: dict[str, Any] = json.loads(path.read_text())

    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"headrace_\w+", target["expr"]):
                wanted = {label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")}
                wanted |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                assert wanted <= labels[name.removesuffix("_bucket")], panel["title"]


def test_prometheus_asks_every_service() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]

    assert targets == [f"{service}:8080" for service in SERVICES]
