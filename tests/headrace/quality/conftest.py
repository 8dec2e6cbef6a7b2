"""A database of the made-up source, and the client that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.frames.client import Headrace, connect
from tests.headrace.quality.made_up_facts import Connection
from tests.services.loader.conftest import own_database


@contextmanager
def database_and_reader(postgres: EmbeddedPostgres) -> Iterator[tuple[Connection, Headrace]]:
    """A new database: the owner's connection, in autocommit mode, and a client."""
    with own_database(postgres) as url, psycopg.connect(url, autocommit=True) as connection, connect(url) as reader:
        yield connection, reader


@pytest.fixture
def loaded(postgres: EmbeddedPostgres) -> Iterator[tuple[Connection, Headrace]]:
    with database_and_reader(postgres) as both:
        yield both
