"""One run of the real pipeline for all tests; each test gets a copy of its database and archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from headrace.audit.audit_pass import AuditTarget
from headrace.database.access import open_database
from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.sources.yaml_file import load_source
from shared.broker.postgres.broker import PostgresBroker
from shared.settings.sections import Settings
from tests.headrace.audit.pipeline import predict
from tests.headrace.runs import DAYS, run_once, write_archive


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, EmbeddedPostgres]]:
    """The data directory of a run over two days, with three predictions, and its server."""
    data_dir = tmp_path_factory.mktemp("audited") / "data"
    recorded = write_archive(tmp_path_factory.mktemp("recorded"))
    run_once(recorded, data_dir)
    with open_database(Settings(data_dir=data_dir)) as access:
        assert access.server is not None
        predict(access.server.url_with_password(), [f"boatrace:{DAYS[0]}:09:{n:02d}" for n in (1, 2, 3)])
        run_once(recorded, data_dir)
        yield data_dir, access.server


@pytest.fixture
def copy_url(finished_run: tuple[Path, EmbeddedPostgres]) -> Iterator[str]:
    server, name = finished_run[1], f"copy_{uuid4().hex}"
    with psycopg.connect(server.url_with_password(database="postgres"), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY wal_log')
        yield server.url_with_password(database=name)
        owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def connection(copy_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection of the owner to the copy, to damage it."""
    with psycopg.connect(copy_url, autocommit=True) as copy_connection:
        yield copy_connection


@pytest.fixture
def target(finished_run: tuple[Path, EmbeddedPostgres], copy_url: str, tmp_path: Path) -> Iterator[AuditTarget]:
    """The copy of the database and a copy of the archive, to be audited."""
    archive = tmp_path / "archive"
    shutil.copytree(finished_run[0] / "archive", archive)
    broker = PostgresBroker(copy_url)
    with psycopg.connect(copy_url, autocommit=True) as copy_connection:
        yield AuditTarget(copy_connection, broker, archive, {"boatrace": load_source("boatrace")})
    broker.close()
