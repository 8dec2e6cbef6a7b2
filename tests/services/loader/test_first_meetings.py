"""Two loaders insert the same shared row at the same time: one waits for the other, and no value is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from services.loader.apply import FactApplier
from services.loader.load import Loader
from services.loader.postgres_base import insert_codes, update_codes
from services.loader.postgres_effects import write_shared
from services.loader.resolve import sources, venues
from shared.events import Entry, Reference, ReferenceRow
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import SOURCE, START, StillClock, at, entry, listed, received
from tests.services.loader.views import ask
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]
Work = Callable[[Connection], Any]

ENTITIES = "SELECT entity_key, name, categories, known_at FROM analytics.entities ORDER BY 1"


def run_overlapping(url: str, first: Work, second: Work, *, before: Work | None = None) -> None:
    """Runs both in overlapping transactions: the second must wait for rows that the first has not committed."""
    if before is not None:
        with psycopg.connect(url) as earlier:
            before(earlier)
    with (
        psycopg.connect(url) as first_connection,
        psycopg.connect(url) as second_connection,
        psycopg.connect(url, autocommit=True) as watcher,
    ):
        first(first_connection)
        errors: list[BaseException] = []

        def run_second() -> None:
            try:
                second(second_connection)
                second_connection.commit()
            except BaseException as error:  # noqa: BLE001  # reported by the assertion below
                errors.append(error)

        second_thread = threading.Thread(target=run_second)
        second_thread.start()
        lock_wait_query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"

        def waiting() -> bool:
            assert second_thread.is_alive(), f"it did not wait: {errors}"
            return watcher.execute(lock_wait_query, [second_connection.info.backend_pid]).fetchone() == (True,)

        wait_until(waiting)
        first_connection.commit()
        second_thread.join(DEADLINE_S)
        assert not second_thread.is_alive()
        assert errors == []


def card(number: int, known: float, *entries: Entry, **fields: Any) -> Work:
    """Writes the rows that a card shares with other cards."""

    def work(connection: Connection) -> None:
        applier = FactApplier({})
        applier.apply(received(listed(number, known=known, entries=entries, **fields)))
        write_shared(connection, applier.finish())

    return work


empty_card = card(12, -300)
"""Inserts source, venue and session, so that the loaders wait for each other only at the entities."""


def entry_with(classes: dict[str, int], *, name: bool = True) -> Entry:
    plain = entry(1)
    assert plain.entity is not None
    entity = replace(plain.entity, categories=dict(classes), name=plain.entity.name if name else None)
    return entry(1, entity=entity)


@pytest.mark.parametrize(
    ("first_card", "second_card"),
    [
        pytest.param((-300, entry_with({"class": 2})), (-400, entry_with({"class": 2})), id="known earlier"),
        pytest.param((-400, entry_with({"class": 2})), (-300, entry_with({"class": 1})), id="of another class since"),
        pytest.param((-300, entry_with({"class": 1})), (-400, entry_with({"class": 2})), id="of another class before"),
        pytest.param((-400, entry_with({"class": 2}, name=False)), (-300, entry_with({"branch": 3})), id="in parts"),
    ],
)
@pytest.mark.parametrize("reversed_order", [False, True], ids=["", "reversed"])
def test_a_card_updates_an_entity_that_another_loader_is_inserting(
    database_url: str,
    database: Connection,
    connection: Connection,
    first_card: tuple[float, Entry],
    second_card: tuple[float, Entry],
    reversed_order: bool,
) -> None:
    cards = [card(1, *first_card), card(2, *second_card)]
    for work in cards:
        work(connection)
    expected = ask(connection, ENTITIES)
    assert len(expected) == 1

    run_overlapping(database_url, *(reversed(cards) if reversed_order else cards), before=empty_card)

    database.execute("SET timezone = 'UTC'")
    assert ask(database, ENTITIES) == expected


def test_a_value_that_returns_is_current_although_the_other_one_arrives_last(
    database_url: str, database: Connection
) -> None:
    first, second = entry_with({"class": 1}), entry_with({"class": 2})

    run_overlapping(database_url, card(3, -200, first), card(2, -300, second), before=card(1, -400, first))

    assert ask(database, "SELECT categories, known_at FROM analytics.entities") == [({"class": 1}, at(-200))]


def test_entities_in_opposite_orders_cause_no_deadlock(database_url: str, database: Connection) -> None:
    run_overlapping(
        database_url, card(1, -300, entry(1, 101), entry(2, 102)), card(2, -400, entry(1, 102), entry(2, 101))
    )

    assert [row[0] for row in ask(database, ENTITIES)] == [f"{SOURCE}:101", f"{SOURCE}:102"]


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)], ids=str)
def test_a_session_is_the_fold_of_the_cards_of_two_loaders(
    database_url: str, database: Connection, numbers: tuple[int, int]
) -> None:
    session = listed().session
    stated = {1: session.model_copy(update={"title": "Autumn Cup"}), 2: session.model_copy(update={"grade": None})}

    def work(number: int) -> Work:
        record = received(listed(number, known=-300 + number, session=stated[number]))
        return lambda connection: Loader(StillClock(), Metrics()).handle([record], connection)

    run_overlapping(database_url, *map(work, numbers))

    assert ask(database, "SELECT title, grade FROM facts.sessions") == [("Spring Cup", 3)]


def test_sources_and_venues_that_another_loader_is_inserting_are_resolved(
    database_url: str, database: Connection
) -> None:
    ids: list[Any] = []

    def work(connection: Connection) -> None:
        ids.append(venues(connection, sources(connection, [SOURCE]), {(SOURCE, 7)}))

    run_overlapping(database_url, work, work)

    assert ids[0] == ids[1]
    assert len(ask(database, "SELECT FROM analytics.venues")) == 1


def test_reference_data_names_a_code_that_another_loader_is_inserting(database_url: str, database: Connection) -> None:
    venues_table = Reference(
        source=SOURCE,
        event_key="river:venues",
        known_at=START,
        document_hash="d" * 64,
        table="venues",
        rows=(ReferenceRow(code="7", name="Weir"),),
    )

    def name(connection: Connection) -> None:
        insert_codes(connection, venues_table)
        assert update_codes(connection, venues_table)

    run_overlapping(database_url, card(1, -300, entry(1)), name)

    assert ask(database, "SELECT code, name FROM analytics.venues") == [("7", "Weir")]
