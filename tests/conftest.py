"""What many tests need: a real PostgreSQL of the session's own, a fresh, migrated database for each test, a Kafka."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from headrace.database.embedded import EmbeddedPostgres
from shared.database.migrations import migrate
from tests.kafka.jars import KafkaMissingError
from tests.kafka.use import KafkaInUse

pytest_plugins = ("tests.selection", "tests.skips", "tests.timing")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis loads the profile that the command line names
def pytest_configure(config: pytest.Config) -> None:
    """kafka-python reads its schemas in a way that Python 3.11 and 3.12 call deprecated, and 3.13 no longer does."""
    config.addinivalue_line("filterwarnings", "ignore:.*_text is deprecated:DeprecationWarning")
    # Hypothesis: examples follow from the test alone, so that a change passes or fails by what it changes. Others are
    # looked for with `--hypothesis-profile explore`. A loaded machine may be slow, so no example has a deadline.
    settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("fixed", settings.get_profile("explore"), derandomize=True)
    settings.load_profile("fixed")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running server; its database `headrace` is migrated and serves as the template of the others.

    It does not wait for its disk: processes are killed here, machines are not, and a fresh database takes a fifth.
    """
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    try:
        with psycopg.connect(server.url_with_password(database="postgres"), autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        migrate(server.url_with_password())
        yield server
    finally:
        server.stop()


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's URL (with its password) of a fresh database with all migrations."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY wal_log')
        try:
            yield postgres.url_with_password(database=name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An autocommit connection of the owner to a fresh database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaInUse]:
    """A running Kafka: the one that HEADRACE_KAFKA names, or one of the session's own."""
    from tests.kafka.server import KafkaServer  # loads kafka-python: once its warnings are settled, above

    if given := os.environ.get("HEADRACE_KAFKA"):
        yield KafkaInUse(given)
        return
    try:
        server = KafkaServer(tmp_path_factory.mktemp("kafka"), proxied=2)
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    server.start()
    try:
        yield KafkaInUse(server.bootstrap, server)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
