"""A replay of the loader changes no row that is up to date, and does not undo a later replay of the cleaner."""

from __future__ import annotations

from typing import Any

import psycopg

from services.loader.load import Loader
from shared.records import LIVE, DecodedRecord
from shared.topics import LOADED
from tests.services.loader.facts import listed, received
from tests.services.loader.views import ask, tables

Connection = psycopg.Connection[Any]
CLEANING, LOADING = "000000000017", "000000000023"


def replayed(item: DecodedRecord) -> DecodedRecord:
    """The record as a replay of the loader passes it on."""
    return item._replace(revision=LOADING)


def cleaned_again(item: DecodedRecord) -> DecodedRecord:
    """The same raw event cleaned under other rules: the same id, another content, a later revision."""
    return received(listed(1, title="final"), item.event_id, revision=CLEANING)


def test_a_replay_of_the_first_cleaning_leaves_the_second_in_place(loader: Loader, connection: Connection) -> None:
    first = received(listed(1, title="heat"))
    for item in (first, cleaned_again(first)):
        loader.handle([item], connection)
    before = tables(connection)

    assert loader.handle([replayed(first)], connection) == []

    assert ask(connection, "SELECT title FROM analytics.events") == [("final",)]
    assert tables(connection) == before


def test_a_replay_of_both_writes_nothing(loader: Loader, connection: Connection) -> None:
    first = received(listed(1, title="heat"))
    second = cleaned_again(first)
    loader.handle([first, second], connection)
    before = ask(connection, "SELECT * FROM facts.versions ORDER BY version")

    assert loader.handle([replayed(first), replayed(second)], connection) == []

    assert ask(connection, "SELECT * FROM facts.versions ORDER BY version") == before


def test_a_loaded_event_of_a_replay_has_its_revision(loader: Loader, connection: Connection) -> None:
    (loaded_event,) = loader.handle([replayed(received(listed(1)))], connection)

    assert (loaded_event.topic, loaded_event.headers["revision"].decode()) == (LOADED, LOADING)
    assert ask(connection, "SELECT revision FROM facts.versions") == [(LIVE,)]
