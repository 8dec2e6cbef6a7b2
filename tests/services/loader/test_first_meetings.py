"""Two loaders meet the same thing for the first time at once: one waits for the other, and nothing it says is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from services.loader.apply import FactApplier
from services.loader.load import write_shared
from services.loader.postgres_base import insert_codes, update_codes
from services.loader.postgres_merge import prepare_staging
from services.loader.resolve import sources, venues
from shared.events import Entry, Reference, ReferenceRow
from tests.services.loader.facts import SOURCE, START, entry, listed, received
from tests.services.loader.views import ask
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]
Work = Callable[[Connection], Any]

SAID = "SELECT entity_key, name, categories, known_at FROM analytics.entities ORDER BY 1"


def at_once(url: str, first: Work, second: Work, *, before: Work | None = None) -> None:
    """Both in transactions that overlap: the second meets what the first has written and not committed, and waits."""
    if before is not None:
        with psycopg.connect(url) as earlier:
            before(earlier)
    with psycopg.connect(url) as one, psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as watcher:
        first(one)
        errors: list[BaseException] = []

        def follow() -> None:
            try:
                second(other)
                other.commit()
            except BaseException as error:  # noqa: BLE001  # told by the assertion below
                errors.append(error)

        follower = threading.Thread(target=follow)
        follower.start()
        waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"

        def waiting() -> bool:
            assert follower.is_alive(), f"it did not wait: {errors}"
            return watcher.execute(waits, [other.info.backend_pid]).fetchone() == (True,)

        wait_until(waiting)
        one.commit()
        follower.join(DEADLINE_S)
        assert not follower.is_alive()
        assert errors == []


def card(number: int, known: float, *entries: Entry, **given: Any) -> Work:
    """Makes known what a card shares with others."""

    def work(connection: Connection) -> None:
        prepare_staging(connection)
        application = FactApplier({})
        application.apply(received(listed(number, known=known, entries=entries, **given)))
        write_shared(connection, application.finish())

    return work


elsewhere = card(12, -300)
"""A card without entries: source, venue and session are there, so that nobody waits before the entities."""


def names(classes: dict[str, int], *, name: bool = True) -> Entry:
    entry_ = entry(1)
    assert entry_.entity is not None
    said = entry_.entity.model_copy(update={"categories": classes} | ({} if name else {"name": None}))
    return entry(1, entity=said)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param((-300, names({"class": 2})), (-400, names({"class": 2})), id="known earlier"),
        pytest.param((-400, names({"class": 2})), (-300, names({"class": 1})), id="of another class since"),
        pytest.param((-300, names({"class": 1})), (-400, names({"class": 2})), id="of another class before"),
        pytest.param((-400, names({"class": 2}, name=False)), (-300, names({"branch": 3})), id="in parts"),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned round"])
def test_a_sighting_of_a_new_entity_counts_also_when_another_loader_makes_it(
    database_url: str,
    database: Connection,
    connection: Connection,
    one: tuple[float, Entry],
    other: tuple[float, Entry],
    turned: bool,
) -> None:
    sightings = [card(1, *one), card(2, *other)]
    for work in sightings:
        work(connection)
    expected = ask(connection, SAID)
    assert len(expected) == 1

    at_once(database_url, *(reversed(sightings) if turned else sightings), before=elsewhere)

    database.execute("SET timezone = 'UTC'")
    assert ask(database, SAID) == expected


def test_entities_met_in_opposite_orders_are_no_deadlock(database_url: str, database: Connection) -> None:
    at_once(database_url, card(1, -300, entry(1, 101), entry(2, 102)), card(2, -400, entry(1, 102), entry(2, 101)))

    assert [row[0] for row in ask(database, SAID)] == [f"{SOURCE}:101", f"{SOURCE}:102"]


def test_the_second_card_of_a_new_session_fills_in_its_title(database_url: str, database: Connection) -> None:
    named = listed(2).session
    unnamed = named.model_copy(update={"title": None, "grade": None})

    at_once(database_url, card(1, -300, entry(1), session=unnamed), card(2, -300, entry(1), session=named))

    assert ask(database, "SELECT title, grade FROM facts.sessions") == [("Spring Cup", 3)]


def test_sources_and_venues_that_another_loader_is_making_are_found(database_url: str, database: Connection) -> None:
    found: list[Any] = []

    def work(connection: Connection) -> None:
        found.append(venues(connection, sources(connection, [SOURCE]), {(SOURCE, 7)}))

    at_once(database_url, work, work)

    assert found[0] == found[1]
    assert len(ask(database, "SELECT FROM analytics.venues")) == 1


def test_base_data_names_a_code_that_another_loader_is_making(database_url: str, database: Connection) -> None:
    base = Reference(
        source=SOURCE,
        event_key="river:venues",
        known_at=START,
        document_hash="d" * 64,
        table="venues",
        rows=(ReferenceRow(code="7", name="Weir"),),
    )

    def name(connection: Connection) -> None:
        insert_codes(connection, base)
        assert update_codes(connection, base)

    at_once(database_url, card(1, -300, entry(1)), name)

    assert ask(database, "SELECT code, name FROM analytics.venues") == [("7", "Weir")]
