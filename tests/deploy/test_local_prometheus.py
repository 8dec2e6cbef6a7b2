"""`make observability`: its configuration and targets, and what it says if Prometheus is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.prometheus.local import DEPLOY, TargetFile, configuration, targets_of
from headrace.progress.replicas import ReplicaStatus
from shared.settings.sections import Settings

ROOT = Path(__file__).parents[2]


def test_the_targets_are_the_addresses_of_live_replicas() -> None:
    live = [
        ReplicaStatus("loader", "host-0", 7, "http://127.0.0.1:4711", "running", True, 0),
        ReplicaStatus("loader", "host-1", 8, "http://[::1]:4712", "running", True, 0),
        ReplicaStatus("notifier", None, None, None, "stopped", False, None),
    ]

    assert targets_of(live) == [
        {"targets": ["127.0.0.1:4711"], "labels": {"service": "loader"}},
        {"targets": ["[::1]:4712"], "labels": {"service": "loader"}},
    ]


def test_without_a_database_there_are_no_targets(tmp_path: Path) -> None:
    file = tmp_path / "targets.json"

    assert TargetFile(Settings(data_dir=tmp_path / "data"), file).refresh() == 0
    assert file.read_text() == "[]"


@pytest.mark.parametrize("port", [9093, None])
def test_the_configuration_differs_from_that_of_the_containers_only_in_its_targets(
    tmp_path: Path, port: int | None
) -> None:
    original = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())

    config = yaml.safe_load(configuration(tmp_path / "targets.json", DEPLOY / "prometheus" / "rules", port))

    (scrape,) = config["scrape_configs"]
    assert config["global"] == original["global"]
    assert scrape["job_name"] == original["scrape_configs"][0]["job_name"]
    assert scrape["file_sd_configs"][0]["files"] == [str(tmp_path / "targets.json")]
    assert ("alerting" in config) == (port is not None)
    assert str(port) in yaml.safe_dump(config.get("alerting")) or port is None


def test_a_missing_prometheus_is_reported_with_its_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.prometheus.local", "--data-dir", str(tmp_path / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}

    process = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment | {"PATH": str(tmp_path)}
    )

    assert process.returncode == 2
    assert process.stderr.splitlines()[-1] == "prometheus is not installed: apt install prometheus"
