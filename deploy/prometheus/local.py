"""Starts Prometheus, and Alertmanager if installed, against a `headrace run` on this machine: `make observability`.

Both listen on loopback. The targets are the live replicas in ops.replicas: a file that this program writes every few
seconds and that Prometheus watches. Ctrl-C stops everything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import yaml

from headrace.database.access import access_of
from headrace.progress.replicas import ReplicaStatus, replicas
from shared.errors import ConfigError
from shared.settings.loading import load
from shared.settings.sections import Settings

DEPLOY = Path(__file__).parents[1]
PORT, ALERTMANAGER_PORT = 9090, 9093
REFRESH_S = 5.0
STOP_S = 10.0
PACKAGES = {"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}


def targets_of(live: Sequence[ReplicaStatus]) -> list[dict[str, Any]]:
    """The replicas that serve metrics, as Prometheus' file_sd reads them."""
    return [
        {"targets": [urlsplit(each.admin_url).netloc], "labels": {"service": each.service}}
        for each in live
        if each.admin_url is not None
    ]


def configuration(targets_file: Path, rules: Path, alertmanager_port: int | None, interval_s: float = 15) -> str:
    """deploy/prometheus/prometheus.yml with the targets of a file instead of DNS."""
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] |= {
        "scrape_interval": f"{interval_s:g}s",
        "scrape_timeout": f"{min(5.0, interval_s):g}s",
        "evaluation_interval": f"{interval_s:g}s",
    }
    config["rule_files"] = [str(rules / "*.yml")]
    (scrape,) = config["scrape_configs"]
    del scrape["dns_sd_configs"], scrape["relabel_configs"]
    scrape["file_sd_configs"] = [{"files": [str(targets_file)], "refresh_interval": f"{REFRESH_S:g}s"}]
    if alertmanager_port is None:
        del config["alerting"]
    else:
        static = [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": static}]}
    return yaml.safe_dump(config)


class TargetFile:
    """Writes the targets whenever they change. Without a running database there are none."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._access = access_of(settings)
        self._file = file
        self._text = ""

    def refresh(self) -> int:
        """The number of targets."""
        targets = targets_of(self._live())
        text = json.dumps(targets)
        if text != self._text:
            temporary = self._file.with_suffix(".new")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._file)
            self._text = text
        return len(targets)

    def _live(self) -> list[ReplicaStatus]:
        try:
            if not self._access.is_up():
                return []
            with self._access.connect("headrace observability") as connection:
                return replicas(connection)
        except (ConfigError, psycopg.Error):  # it stops, or is not migrated yet
            return []


@contextmanager
def prometheus(config: Path, data: Path, port: int = PORT) -> Iterator[subprocess.Popen[bytes]]:
    """A running Prometheus on loopback. Raises ConfigError if it is not installed."""
    command = [
        _program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with _running(command) as process:
        yield process


@contextmanager
def alertmanager(data: Path, port: int = ALERTMANAGER_PORT) -> Iterator[subprocess.Popen[bytes]]:
    """A running Alertmanager that sends nothing. Raises ConfigError if it is not installed."""
    command = [
        _program("prometheus-alertmanager", "alertmanager"),
        f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}", f"--storage.path={data}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with _running(command) as process:
        yield process


@contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, so that Ctrl-C reaches only this program, which then stops it."""
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603  # paths and numbers only
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise ConfigError(f"{names[0]} is not installed: apt install {PACKAGES[names[0]]}")


def run(settings: Settings, port: int, alertmanager_port: int) -> int:
    folder = settings.data_dir.resolve() / "observability"
    folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    targets = TargetFile(settings, folder / "targets.json")
    count = targets.refresh()
    with ExitStack() as stack:
        processes = {}
        try:
            processes["Alertmanager"] = stack.enter_context(alertmanager(folder / "alertmanager", alertmanager_port))
        except ConfigError as error:
            _say(f"without Alertmanager: {error}")
        config = folder / "prometheus.yml"
        with_alerts = alertmanager_port if processes else None
        text = configuration(folder / "targets.json", DEPLOY / "prometheus" / "rules", with_alerts)
        config.write_text(text, encoding="utf-8")
        processes["Prometheus"] = stack.enter_context(prometheus(config, folder / "prometheus", port))
        _say(f"{count} replicas run in {settings.data_dir}" if count else f"no replica runs in {settings.data_dir} yet")
        _say(f"Prometheus    http://127.0.0.1:{port}/alerts, /targets, /graph")
        if "Alertmanager" in processes:
            _say(f"Alertmanager  http://127.0.0.1:{alertmanager_port}")
        _say("Ctrl-C stops them. The data stays in the data directory, in observability/.")
        while not stop.wait(REFRESH_S):
            targets.refresh()
            for name in [name for name, process in processes.items() if process.poll() is not None]:
                _say(f"{name} ended with code {processes.pop(name).returncode}; its last lines say why")
            if "Prometheus" not in processes:
                return 1
    return 0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(prog="make observability", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".headrace"))
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--alertmanager-port", type=int, default=ALERTMANAGER_PORT)
    options = parser.parse_args(arguments)
    try:
        settings = load(Settings, environ, None, {"data_dir": options.data_dir})
        return run(settings, options.port, options.alertmanager_port)
    except ConfigError as error:
        _say(str(error))
        return 2


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
