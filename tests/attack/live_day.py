"""A live day of `headrace run` with all five services under their own logins, for the time of an attack."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg

from headrace.database.embedded import EmbeddedPostgres
from shared.topics import SERVICES
from tests.attack.attempts import ADMIN, DELEGATE, EXPIRED, NO_TOKEN, OPERATE, READ, WRONG
from tests.processes import stopped_at_end
from tests.shared.runtime.api.admin_apps import create_token
from tests.waiting import wait_until

DAY = "2026-02-01"
BEGIN = f"{DAY}T10:00:00+09:00"
# A day of eight hours takes eight minutes.
SPEED = 60
START_LIMIT_S = 300.0
STOP_LIMIT_S = 60.0
EXPIRED_AFTER = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Service:
    name: str
    pid: int
    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=60)

    def counted(self) -> dict[str, float]:
        """The responses that its metric has counted, by status."""
        metric = re.compile(r'^headrace_http_requests_total\{status="(\w+)"\} (\S+)$', re.MULTILINE)
        lines = metric.findall(self.get("/metrics").text)
        return {status: float(count) for status, count in lines}


@dataclass(frozen=True)
class LiveDay:
    data_dir: Path
    conninfo: str
    process: subprocess.Popen[bytes]

    @property
    def file_token(self) -> str:
        return (self.data_dir / "token").read_text(encoding="utf-8").strip()

    def services(self) -> dict[str, Service]:
        """The live services, by name."""
        with psycopg.connect(self.conninfo) as connection:
            rows = connection.execute("SELECT service, pid, admin_url FROM ops.replicas").fetchall()
        return {name: Service(name, pid, url) for name, pid, url in rows}

    def tokens(self) -> dict[str, str | None]:
        """A token of each sort, made in the database."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return {
                NO_TOKEN: None,
                WRONG: "hr_" + "0" * 12 + "_" + "0" * 43,
                READ: create_token(connection, "attack-read", "read"),
                OPERATE: create_token(connection, "attack-operate", "operate"),
                DELEGATE: create_token(connection, "attack-delegate", "operate", delegate=True),
                ADMIN: create_token(connection, "attack-admin", "admin"),
                EXPIRED: create_token(connection, "attack-expired", "operate", EXPIRED_AFTER),
            }

    def tracebacks(self) -> list[str]:
        """Lines of the logs that tell of an unexpected error."""
        return [
            f"{log.name}: {line[:300]}"
            for log in sorted((self.data_dir / "logs").glob("*.log"))
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if "Traceback" in line or '"level": "critical"' in line
        ]


@contextmanager
def live_day(data_dir: Path) -> Iterator[LiveDay]:
    """Raises AssertionError if the services do not come up in START_LIMIT_S."""
    command = [
        sys.executable, "-m", "headrace", "run", "--source", "simulator", "--from", DAY, "--to", DAY,
        "--clock-start", BEGIN, "--clock-speed", str(SPEED), "--data-dir", str(data_dir),
    ]  # fmt: skip
    output = data_dir.with_suffix(".output")
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    with stopped_at_end(process, STOP_LIMIT_S):
        server = EmbeddedPostgres(data_dir)
        wait_until(lambda: _is_up(process, server, output), "the services", START_LIMIT_S, poll_s=0.5)
        yield LiveDay(data_dir, server.url_with_password(), process)


def _is_up(process: subprocess.Popen[bytes], server: EmbeddedPostgres, output: Path) -> bool:
    assert process.poll() is None, output.read_text(encoding="utf-8")
    if not server.password_file("headrace_owner").exists() or not server.accepts_connections():
        return False
    try:
        with psycopg.connect(server.url_with_password()) as connection:
            rows: list[tuple[Any, ...]] = connection.execute("SELECT service, admin_url FROM ops.replicas").fetchall()
        urls: Mapping[str, str] = dict(rows)
        return urls.keys() == set(SERVICES) and all(_is_ready(url) for url in urls.values())
    except (psycopg.OperationalError, psycopg.errors.InvalidCatalogName, psycopg.errors.UndefinedTable):
        return False


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx2.HTTPError:
        return False
