"""Installations with databases of their own: a restore replaces schemas, and must have the only session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from headrace.cli import command
from headrace.database.access import open_database, prepare
from headrace.database.embedded import OWNER, EmbeddedPostgres
from headrace.terminal.arguments import settings_of
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.sources.documents import Document
from shared.settings.sections import Settings
from tests.headrace.commands.conftest import FILL

LEDGER = """
INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, state, created_at, due_at)
SELECT gen_random_uuid(), 'tip', 'console', 'made-up:1', 'text', state, now(), now()
FROM unnest(ARRAY['sent', 'pending', 'sending']) AS state;
INSERT INTO facts.export_days (source_id, date, touched, exported) SELECT id, '2026-01-31', 3, 3 FROM facts.sources;
INSERT INTO ops.audit (service, who, action, target, outcome, request_id) VALUES ('s', 'w', 'a', 't', 'accepted', 'r');
INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at)
VALUES ('cleaner', 'host-0', 1, 'http://127.0.0.1:1', 'running', true, now(), now());
INSERT INTO ops.attempts (service, topic, p, incarnation) VALUES ('cleaner', 'raw-events', 0, gen_random_uuid());
"""


class Installation:
    """A data directory, and a database of the tests' server or the embedded one."""

    def __init__(self, data_dir: Path, url: str, capfd: pytest.CaptureFixture[str], *options: str) -> None:
        self.data_dir = data_dir
        self.options = options
        self._url = url
        self._capfd = capfd

    @property
    def settings(self) -> Settings:
        return settings_of(self.data_dir, None, Path(self.options[1]) if self.options else None)

    def headrace(self, *arguments: str) -> tuple[int, str, str]:
        self._capfd.readouterr()
        code = command([*arguments, "--data-dir", str(self.data_dir), *self.options])
        return code, *self._capfd.readouterr()

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._url, autocommit=True)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    def execute(self, statements: str) -> None:
        with self.connect() as connection:
            connection.execute(statements.encode())

    def fill(self) -> None:
        """Rows in several tables, a document in the archive, and a model."""
        self.execute(FILL + LEDGER)
        archive = DocumentArchive(self.data_dir / "archive", "made-up")
        archive.put(document_of(b'{"a": 1}'))
        archive.sync()
        models = self.data_dir / "models"
        (models / "20260131-0a1b2c3d").mkdir(parents=True)
        (models / "20260131-0a1b2c3d" / "model.json").write_text("{}")
        (models / "states.json").write_text('{"of": "the backup"}')


@contextmanager
def new_installation(
    postgres: EmbeddedPostgres, data_dir: Path, capfd: pytest.CaptureFixture[str], template: str
) -> Iterator[Installation]:
    """An installation with a new database on the tests' server. Its name is that of its data directory."""
    name = f"backup_{data_dir.name}_{uuid4().hex[:8]}"
    data_dir.mkdir()
    config = data_dir / "headrace.yaml"
    config.write_text(
        f"database:\n  url: {postgres.url(database=name)}\n  password_file: {postgres.password_file(OWNER)}\n"
    )
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {template} STRATEGY wal_log')
        try:
            yield Installation(data_dir, postgres.url_with_password(database=name), capfd, "--config", str(config))
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def installation(
    postgres: EmbeddedPostgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Installation]:
    with new_installation(postgres, tmp_path / "data", capfd, "headrace") as made:
        with open_database(made.settings) as access:
            prepare(access, made.settings)
        made.fill()
        yield made


@pytest.fixture
def empty(postgres: EmbeddedPostgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Installation]:
    """An installation without schemas."""
    with new_installation(postgres, tmp_path / "other", capfd, "template0") as made:
        yield made


@pytest.fixture
def embedded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Installation]:
    """An installation whose embedded server has no role and no schema."""
    data_dir = tmp_path / "embedded"
    with open_database(Settings(data_dir=data_dir)):
        yield Installation(data_dir, EmbeddedPostgres(data_dir).url_with_password(), capfd)


def document_of(body: bytes) -> Document:
    return Document("results", date(2026, 1, 31), "http://127.0.0.1/a", body, datetime(2026, 1, 31, tzinfo=UTC))
