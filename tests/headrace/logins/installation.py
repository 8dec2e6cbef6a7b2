"""An installation on a PostgreSQL given by URL: its owner is no superuser, and each service has its own login."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psycopg

from headrace.database.access import ROLES, Access
from headrace.database.data_dir import DataDir
from headrace.database.embedded import EmbeddedPostgres
from headrace.processes.supervisor import Supervisor
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.programs import common_environment, python, service_environment, services
from shared.broker.connect import connect
from shared.broker.contract import Broker
from shared.settings.sections import DatabaseSettings, Settings
from shared.topics import SERVICES
from tests.faults.days import morning
from tests.headrace.runs import write_archive
from tests.waiting import wait_until

OWNER, DATABASE = "operator", "managed"
# Enough events for a training; the services fetch the last days by themselves.
DAYS = tuple(date(2026, 1, 5) + timedelta(days=number) for number in range(12))
OWN_DAYS = DAYS[-2:]
COMMAND_LIMIT_S, STOP_LIMIT_S, PIPELINE_LIMIT_S = 600.0, 60.0, 300.0
# A lower limit than the default, so that there are notifications.
NOTIFIER = {"HEADRACE_NOTIFIER__CHANNELS": "webhook", "HEADRACE_NOTIFIER__BIG_AMOUNT": "30000"}
_REFUSED = re.compile(r"42501|permission denied|row-level security|InsufficientPrivilege")
T = TypeVar("T")


class OwnLogins(Access):
    """As `Access` to a database given by URL, but each service has its own login."""

    def login(self, role: str) -> DatabaseSettings:
        return self._login(role)

    def _login(self, role: str) -> DatabaseSettings:
        assert self.external is not None
        assert self.external.password_file is not None
        if role not in ROLES:
            return self.external
        password_file = self.external.password_file.with_name(f"{role}.password")
        url = self.external.url.replace(f"//{OWNER}@", f"//{role}@", 1)
        return DatabaseSettings(url=url, password_file=password_file)


@dataclass
class Installation:
    """`notifier`: environment variables of the notifier."""

    access: OwnLogins
    data_dir: DataDir
    archive: Path
    broker_url: str
    server_log: Path
    notifier: dict[str, str]
    supervisor: Supervisor = field(default_factory=lambda: Supervisor([]))

    def environment(self, login: DatabaseSettings) -> dict[str, str]:
        return common_environment(self.data_dir) | {
            "HEADRACE_DATABASE__URL": login.url,
            "HEADRACE_DATABASE__PASSWORD_FILE": str(login.password_file),
            "HEADRACE_BROKER__URL": self.broker_url,
        }

    def headrace(self, *words: str, login: DatabaseSettings | None = None) -> str:
        """The output of a command of the operator. Raises AssertionError if it fails."""
        return self.run(python("-m", "headrace", *words), self.environment(login or self.access.owner()))

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> str:
        process = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        assert process.returncode == 0, f"{' '.join(command)}: {process.stdout}\n{process.stderr}\n{self.logs()}"
        return process.stdout

    def headrace_json(self, *words: str) -> Any:
        return json.loads(self.headrace(*words, "--output", "json"))

    def options(self) -> RunOptions:
        return RunOptions(
            source="archive",
            archive=self.archive,
            from_date=OWN_DAYS[0],
            to_date=OWN_DAYS[-1],
            clock=VirtualTime(morning(OWN_DAYS[-1] + timedelta(days=1)), 1.0, time.time()),
            replicas={"cleaner": 2},
        )

    def start(self) -> None:
        programs = [
            replace(each, environment={**each.environment, **self.notifier})
            for each in services(self.access, self.data_dir, self.options(), True, None, self.broker_url)
        ]
        self.supervisor = Supervisor(programs)
        self.supervisor.start()
        wait_until(self.are_ready, "the services", PIPELINE_LIMIT_S, poll_s=0.5)

    def are_ready(self) -> bool:
        self.step()
        rows = self.rows("SELECT service FROM ops.replicas WHERE ready")
        return {service for (service,) in rows} == set(SERVICES)

    def step(self) -> None:
        """Restart services that ended. Raises AssertionError if one cannot run."""
        self.supervisor.step()
        failing = self.supervisor.misconfigured_program() or self.supervisor.failing_program()
        assert failing is None, f"{failing}\n{self.logs()}"

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """The first true value of the condition, while ended services are restarted."""

        def check() -> T | None:
            self.step()
            return condition()

        try:
            return wait_until(check, what, PIPELINE_LIMIT_S, poll_s=0.2)
        except AssertionError as error:
            error.add_note(self.logs())
            raise

    def kill(self, program: str) -> None:
        """Kill a program without restarting it yet."""
        child = next(each for each in self.supervisor.children if each.program.name == program)
        assert child.process is not None
        child.process.send_signal(signal.SIGKILL)
        child.process.wait(STOP_LIMIT_S)

    def environment_of(self, service: str) -> dict[str, str]:
        return service_environment(self.access, self.data_dir, self.options(), True, None, self.broker_url, service, 0)

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """As the owner."""
        with self.access.connect() as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> None:
        """As the owner."""
        with self.access.connect() as connection:
            connection.execute(statement.encode(), parameters or None)

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        settings = Settings.model_validate({"broker": {"url": self.broker_url}})
        with closing(connect(settings, self.access.owner().conninfo("test"))) as broker:
            yield broker

    def api(self, service: str) -> httpx2.Client:
        [(url,)] = self.rows("SELECT admin_url FROM ops.replicas WHERE service = %s LIMIT 1", (service,))
        token = self.data_dir.token_file.read_text().strip()
        return httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=COMMAND_LIMIT_S, trust_env=False
        )

    def logs(self) -> str:
        folder = self.data_dir.path / "logs"
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))

    def refusals(self) -> list[str]:
        """Lines of the logs of the database and the services about a lack of rights."""
        logs = [self.server_log, *sorted((self.data_dir.path / "logs").glob("*.log"))]
        return [
            f"{log.name}: {line[:500]}"
            for log in logs
            for line in _with_statements(log.read_text(encoding="utf-8", errors="replace").splitlines())
            if _REFUSED.search(line)
        ]


@contextmanager
def installation(folder: Path, broker_url: str, notifier: Mapping[str, str]) -> Iterator[Installation]:
    """Prepared by `headrace migrate`; the services are not started."""
    server = EmbeddedPostgres(folder / "server")
    server.start()
    try:
        access = _managed_database(server, folder / "logins")
        data_dir = DataDir(folder / "data")
        data_dir.create()
        data_dir.create_token()
        log = server.pgdata / "server.log"
        archive = write_archive(folder / "archive", DAYS)
        installation = Installation(access, data_dir, archive, broker_url, log, {**NOTIFIER, **notifier})
        installation.headrace("migrate", "--passwords", str(folder / "logins"))
        try:
            yield installation
        finally:
            installation.supervisor.stop(STOP_LIMIT_S)
    finally:
        server.stop()


def _managed_database(server: EmbeddedPostgres, passwords: Path) -> OwnLogins:
    """A database whose owner is no superuser, as on a managed server. The server logs the code of each error."""
    passwords.mkdir()
    for role in (*ROLES, OWNER):
        (passwords / f"{role}.password").write_text(secrets.token_hex(32))
    with psycopg.connect(server.url_with_password(database="postgres"), autocommit=True) as admin:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            admin.execute(f"ALTER SYSTEM SET {setting} = off")
        admin.execute("ALTER SYSTEM SET log_line_prefix = '%u %e '")
        admin.execute("SELECT pg_reload_conf()")
        password = (passwords / f"{OWNER}.password").read_text()
        admin.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{password}'")
        admin.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    login = DatabaseSettings(url=server.url(OWNER, DATABASE), password_file=passwords / f"{OWNER}.password")
    return OwnLogins(None, login)


def _with_statements(lines: Sequence[str]) -> Iterator[str]:
    """Each line of the log with the next one, which has the statement of an error."""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        yield f"{line} | {following}"
