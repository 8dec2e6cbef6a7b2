"""An installation of deploy/docker-compose.yml for tests: a copy of the project, with its own settings and secrets."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from shared.topics import SERVICES
from tests.deploy.containers.project import Project
from tests.deploy.containers.rows import count_query
from tests.deploy.containers.season import Clock, Season, Span
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
OVERRIDE = "test.yml"
# Deadlines: of a start with the builds of all images, and of a load or a training on a busy machine.
START_S, LONG_S = 1800.0, 900.0
# A query takes longer than most conditions.
POLL_S = 0.5
# Published at free ports instead of fixed ones.
_PORTS = {"simulator": 8080, "prometheus": 9090, "alertmanager": 9093}
# Low thresholds, so that there are enough notifications.
_NOTIFIER = {"HEADRACE_NOTIFIER__TIP_PROBABILITY": "0.3", "HEADRACE_NOTIFIER__BIG_AMOUNT": "30000"}


class DatabaseAwayError(Exception):
    """The database does not answer."""


def copy_project(folder: Path) -> None:
    """Copy what images are built from, and `deploy` without settings and secrets."""
    ignored = shutil.ignore_patterns("__pycache__", ".env", "*.password", "*.token", "*.url")
    for name in ("headrace", "services", "shared", "simulator", "deploy"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
        shutil.copyfile(ROOT / name, folder / name)


class Installation(Project):
    """A project with its settings, its command, its database and its APIs."""

    def select(self, images: Mapping[str, str], left_out: Sequence[str]) -> None:
        """Use these images, by their variables; `left_out`: services that do not run."""
        self._images, self._left_out = images, left_out

    def configure(self, variables: Mapping[str, str]) -> None:
        """Create the secrets and deploy/.env as deploy/up does, and set these variables in it."""
        subprocess.run(["./make-secrets"], cwd=self.deploy, check=True, capture_output=True)
        values = {"COMPOSE_PROJECT_NAME": self.name, "COMPOSE_FILE": f"docker-compose.yml:{OVERRIDE}"}
        values |= {**self._images, **variables}
        lines = (self.deploy / ".env").read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in values]
        text = "\n".join([*kept, *(f"{name}={value}" for name, value in values.items())])
        (self.deploy / ".env").write_text(f"{text}\n")

    def override(self, season: Season | None = None, clock: Clock | None = None) -> None:
        """Write the override file: free ports, the season, a virtual clock of simulator and services."""
        lines: dict[str, list[str]] = defaultdict(list)
        for name, port in _PORTS.items():
            lines[name].append(f'ports: !override ["127.0.0.1::{port}"]')
        for name in self._left_out:
            lines[name].append("profiles: !override [left-out]")
        if season is not None:
            address = ["--host", "0.0.0.0", "--port", "8080"]
            options = [*season.options(), *(clock.options() if clock else [])]
            lines["simulator"].append(f"command: {json.dumps(['python', '-m', 'simulator', *address, *options])}")
        for service in SERVICES:
            environment = (clock.variables() if clock else {}) | (_NOTIFIER if service == "notifier" else {})
            lines[service].append(f"environment: {json.dumps(environment)}")
        text = "".join(f"  {name}:\n" + "".join(f"    {line}\n" for line in each) for name, each in lines.items())
        (self.deploy / OVERRIDE).write_text(f"services:\n{text}")

    def build(self) -> dict[str, str]:
        """Build all images, and note the time and the size of each. Returns them by service."""
        services = json.loads(self.compose("--profile", "*", "config", "--format", "json"))["services"]
        images = {name: service["image"] for name, service in services.items() if "build" in service}
        for name, image in images.items():
            started_s = time.monotonic()
            self.compose("build", name)
            duration_s = time.monotonic() - started_s
            size = int(self.engine.docker("image", "inspect", "--format", "{{.Size}}", image))
            self.figures.add(f"{image}: {size / 1e6:,.0f} MB, built in {duration_s:.0f} s")
        return images

    def start(self) -> None:
        """Run deploy/up, and note the times until it ends and until the first event is loaded."""
        seconds: dict[str, float] = {}
        started_s = time.monotonic()
        process = self.in_background("./up")

        def is_complete() -> bool:
            if process.poll() is not None:
                assert process.returncode == 0, self.output()
                seconds.setdefault("deploy/up", time.monotonic() - started_s)
            if "first loaded event" not in seconds and self._has_events():
                seconds["first loaded event"] = time.monotonic() - started_s
            return len(seconds) == 2

        wait_until(is_complete, "the first event", START_S, poll_s=POLL_S)
        self.figures.add(f"{self.name}: {', '.join(f'{what} {each:.0f} s' for what, each in seconds.items())}")
        self.measure_memory("idle")

    def _has_events(self) -> bool:
        try:
            return bool(self.query("SELECT 1 FROM facts.events LIMIT 1"))
        except DatabaseAwayError:
            return False

    def cli(self, *arguments: str) -> str:
        """What the operator's command prints."""
        return self.compose("run", "--rm", "--no-TTY", "cli", *arguments)

    def cli_json(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments, "--output", "json"))

    def query(self, query: str) -> list[list[Any]]:
        """The rows, read by psql in the database's container. Raises DatabaseAwayError."""
        password = (self.deploy / "secrets" / "headrace_owner.password").read_text()
        statement = f"SELECT coalesce(json_agg(to_json(t)), '[]') FROM ({query}) t"
        login = ["-h", "127.0.0.1", "-U", "headrace_owner", "-d", "headrace"]
        # Not `docker compose exec`, which takes three times as long.
        command = ["exec", "--env", f"PGPASSWORD={password}", f"{self.name}-postgres-1", "psql", *login]
        process = self.engine.run(*command, "-XAtc", statement)
        if process.returncode:
            raise DatabaseAwayError(process.stderr)
        return [list(row.values()) for row in json.loads(process.stdout)]

    def counts(self, span: Span) -> tuple[int, ...]:
        """See `count_query`."""
        (numbers,) = self.query(count_query(span))
        return tuple(numbers)

    def wait_for_counts(self, span: Span, expected: tuple[int, ...]) -> None:
        """Wait until all facts of these days are loaded."""
        wait_until(lambda: self.counts(span) == expected, f"{expected} events", LONG_S, DatabaseAwayError, POLL_S)

    def tables(self, queries: Mapping[str, str]) -> dict[str, list[str]]:
        """The rows of each query as sorted text."""
        return {
            name: sorted(str(row) for (row,) in self.query(f"SELECT x::text FROM ({query}) x"))
            for name, query in queries.items()
        }

    def api(self, service: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The answer of a service's admin API, at its port of this machine."""
        token = (self.deploy / "secrets" / f"{service}.token").read_text()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url(service, 8080)}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def backfill(self, span: Span) -> None:
        """Make the fetcher fetch these days too."""
        self.api("fetcher", "/v1/backfills", {"from": span.first.isoformat(), "to": span.last.isoformat()})

    def scraped(self) -> Counter[str]:
        """By service: the replicas that Prometheus scrapes now without an error."""
        with urllib.request.urlopen(
            f"{self._url('prometheus', 9090)}/api/v1/targets?state=active", timeout=10
        ) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        return Counter(each["labels"]["service"] for each in targets if each["health"] == "up")

    def _url(self, service: str, port: int) -> str:
        return f"http://{self.compose('port', service, str(port)).strip()}"


NewInstallation = Callable[[str], AbstractContextManager[Installation]]
