"""Fixtures of the notifier's tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest

from services.notifier.pacing import DeliveryPolicy
from services.notifier.summaries.postgres_summaries import SummaryComposer
from shared.broker.postgres.broker import PostgresBroker
from shared.topics import topic_specs
from tests.certificates import Certificate, make_certificate
from tests.services.notifier.books import default_book
from tests.services.notifier.http_receiver import Receiver, receiving
from tests.services.notifier.samples import Rows
from tests.services.notifier.sending import open_connection

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord  # noqa: F401


Compose = Callable[[], float]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def rows(database: psycopg.Connection[Any]) -> Rows:
    return Rows(database)


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics(topic_specs(partitions=2))
        yield broker


@pytest.fixture
def compose(database_url: str, broker: PostgresBroker) -> Iterator[Compose]:
    """Runs one step of the summary composer under the notifier's own database role."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE headrace_notifier")
        composer = SummaryComposer(open_connection, lambda: broker, default_book, DeliveryPolicy(), max_wait_s=60)
        yield partial(composer.step, connection, broker)
