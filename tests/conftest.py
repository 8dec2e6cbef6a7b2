"""Fixtures of many tests: a PostgreSQL for each session, a new, migrated database for each test, a Kafka."""

from __future__ import annotations

import faulthandler
import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from headrace.database.embedded import EmbeddedPostgres
from shared.database.migrations import migrate
from tests.kafka.jars import KafkaMissingError
from tests.kafka.use import KafkaInUse

# Far more than the removal of temporary directories takes.
EXIT_LIMIT_S = 600
pytest_plugins = ("tests.selection", "tests.skips", "tests.timing")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis loads the profile that the command line names
def pytest_configure(config: pytest.Config) -> None:
    """Ignore a warning of kafka-python: it calls functions that are deprecated in Python 3.11 and 3.12 only."""
    config.addinivalue_line("filterwarnings", "ignore:.*_text is deprecated:DeprecationWarning")
    # Hypothesis: the test alone determines its examples, so the result depends only on the change. Search for others
    # with `--hypothesis-profile explore`. A loaded machine may be slow, so no example has a deadline.
    settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("fixed", settings.get_profile("explore"), derandomize=True)
    settings.load_profile("fixed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without garbage collection: thousands of tests stay alive until the end, so it only costs time, also
    later, when each full collection would look at them again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After its last test a process of pytest must end: one that does not prints its stacks and ends."""
    faulthandler.dump_traceback_later(EXIT_LIMIT_S, exit=True, file=2)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running server. Its database `headrace` is migrated and is the template of the others.

    It does not wait for its disk: tests kill processes but not machines.
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
    """The owner's URL (with its password) of a new database with all migrations."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        # Cheaper than STRATEGY wal_log, which also writes every page of the template to the WAL.
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY file_copy')
        try:
            yield postgres.url_with_password(database=name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An autocommit connection of the owner to a new database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaInUse]:
    """A running Kafka: the one that HEADRACE_KAFKA names, or one for the session."""
    from tests.kafka.server import KafkaServer  # imports kafka-python, after pytest_configure has ignored its warning

    if address := os.environ.get("HEADRACE_KAFKA"):
        yield KafkaInUse(address)
        return
    try:
        server = KafkaServer(tmp_path_factory.mktemp("kafka"), proxied=2)
    except KafkaMissingError as error:
        pytest.skip(str(error))
    server.start()
    try:
        yield KafkaInUse(server.bootstrap, server)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
