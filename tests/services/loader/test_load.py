"""Facts become rows: Loader.handle on a real database, inside one transaction."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from services.loader.load import Loader
from shared.broker.contract import Record
from shared.errors import InvalidEvent
from shared.events import Reference, ReferenceRow
from shared.records import decode, encode
from shared.runtime.metrics import Metrics
from tests.services.loader.conftest import Load
from tests.services.loader.facts import (
    DAY,
    PAID,
    SOURCE,
    START,
    StillClock,
    at,
    entry,
    key,
    listed,
    observed,
    outcomes,
    paid,
    prediction,
    received,
    settled,
)
from tests.services.loader.views import ask, tables

Connection = psycopg.Connection[Any]


def test_a_first_load_writes_all_rows_of_its_facts(connection: Connection, load: Load) -> None:
    load(listed(), observed(), settled())
    assert ask(connection, "SELECT session_key, source, date, venue, title, status, grade FROM analytics.sessions") == [
        (f"{SOURCE}:2031-05-06:07", SOURCE, DAY, 7, "Spring Cup", "settled", 3)
    ]
    assert ask(
        connection,
        "SELECT event_key, number, scheduled_at, status, version, known_at, distance_m, technique,"
        " conditions ->> 'wind_m_s', observed_conditions ->> 'wind_m_s', listed_at, observed_at FROM analytics.events",
    ) == [(key(), 1, START, "settled", 3, at(20), 1800, 1, "4.0", "3.0", at(-300), at(-10))]
    assert ask(
        connection,
        "SELECT slot, entity_key, measures ->> 'weight_kg', categories FROM analytics.entries WHERE slot = 3",
    ) == [(3, "river:103", "53.0", {"motor_number": 13})]
    assert ask(connection, "SELECT count(*), sum(course) FROM analytics.observations") == [(4, 10)]
    assert ask(connection, "SELECT sum(place), count(code), bool_or(refunded) FROM analytics.outcomes") == [
        (10, 0, False)
    ]
    totals_query = "SELECT market, count(*), sum(amount) FROM analytics.transactions GROUP BY 1 ORDER BY 1"
    assert ask(connection, totals_query) == [
        ("exacta", 1, 520),
        ("place", 2, 300),
        ("quinella", 1, 330),
        ("win", 1, 160),
    ]
    assert ask(
        connection, "SELECT name, categories, known_at FROM analytics.entities WHERE entity_key = 'river:104'"
    ) == [("racer river:104", {"class": 2}, at(-300))]


def test_the_same_batch_twice_changes_nothing_and_emits_nothing(connection: Connection, load: Load) -> None:
    facts = [listed(), observed(), settled()]
    assert len(load(*facts)) == 3
    before = tables(connection)
    assert load(*facts) == []
    assert tables(connection) == before
    assert ask(connection, "SELECT touched FROM facts.export_days") == [(1,)]


def test_a_new_prediction_marks_the_files_of_its_day_as_outdated(
    connection: Connection, loader: Loader, load: Load
) -> None:
    load(listed(), settled())
    loader.handle([prediction()], connection)
    touched = "SELECT touched FROM facts.export_days"
    assert ask(connection, touched) == [(2,)]
    loader.handle([prediction()], connection)
    assert ask(connection, touched) == [(2,)]


def test_a_row_that_exists_without_a_version_is_merged(connection: Connection, load: Load) -> None:
    load(listed(), listed(2))
    connection.execute(
        "INSERT INTO facts.outcomes (event_id, slot, place) SELECT id, 1, 6 FROM facts.events WHERE event_key = %s",
        (key(1),),
    )
    assert len(load(settled(), settled(2))) == 2
    assert ask(connection, "SELECT slot, place FROM analytics.outcomes ORDER BY event_key, slot LIMIT 4") == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
    ]
    assert ask(connection, "SELECT count(*) FROM analytics.outcomes") == [(8,)]
    assert ask(connection, "SELECT count(*) FROM facts.versions") == [(4,)]


def test_a_listed_event_is_emitted_before_its_other_facts(load: Load) -> None:
    loaded_events = load(settled(1), observed(2), listed(2), listed(1))
    assert [(item.event_key, item.kind) for item in loaded_events] == [
        (key(2), "listed"),
        (key(1), "listed"),
        (key(1), "settled"),
        (key(2), "observed"),
    ]
    assert {item.row_id for item in loaded_events if item.event_key == key(2)} != {None}


def test_a_loaded_event_has_the_changed_fields_and_the_status(load: Load) -> None:
    load(listed(), settled(status="provisional", transactions=()))
    (loaded_event,) = load(settled(known=30, technique=2))
    assert (loaded_event.kind, loaded_event.version, loaded_event.status) == ("settled", 2, "settled")
    assert loaded_event.known_at == at(30)
    assert loaded_event.scheduled_at == START
    assert {"status", "technique", "transactions.win.1"} <= set(loaded_event.changed)


def test_a_loaded_event_is_encoded_as_its_message_would_be(connection: Connection, loader: Loader) -> None:
    batches = (
        [listed(), listed(2, scheduled_at=None), settled(status="provisional", transactions=())],
        [settled(known=30.00001, technique=2)],
    )
    outputs = [output for facts in batches for output in loader.handle([received(fact) for fact in facts], connection)]
    assert len(outputs) == 4
    for output in outputs:
        read = decode(Record(output.topic, 0, 0, 0, output.key, output.value, output.headers))
        assert encode(read.message, output.topic, "loaded-event/1", read.event_id, "loader", read.revision) == output


def test_a_correction_is_applied_and_keeps_the_old_value(connection: Connection, load: Load) -> None:
    load(listed(), settled())
    load(settled(known=30, outcomes=outcomes(2, 1, 3, 4), transactions=paid(win={"2": 900})))
    assert ask(connection, "SELECT slot, place FROM analytics.outcomes WHERE place < 3 ORDER BY 1") == [(1, 2), (2, 1)]
    assert ask(connection, "SELECT field, old, new FROM analytics.corrections ORDER BY 1") == [
        ("outcomes.1.result", "1", "2"),
        ("outcomes.2.result", "2", "1"),
        ("transactions.win.1", "160", None),
    ]
    assert ask(connection, "SELECT selection, amount FROM analytics.transactions WHERE market = 'win'") == [("2", 900)]


def test_a_loss_is_counted_kept_visible_and_not_applied(connection: Connection, load: Load, metrics: Metrics) -> None:
    load(listed(), settled())
    assert load(settled(known=30, status="provisional", transactions=())) == []
    assert ask(connection, "SELECT sum(amount) FROM analytics.transactions") == [(sum(row.amount for row in PAID),)]
    assert ask(connection, "SELECT status FROM analytics.events") == [("settled",)]
    assert ask(connection, "SELECT field, kept FROM analytics.regressions ORDER BY 1") == [
        ("status", "settled"),
        ("transactions.exacta.1-2", "520"),
        ("transactions.place.1", "110"),
        ("transactions.place.2", "190"),
        ("transactions.quinella.1=2", "330"),
        ("transactions.win.1", "160"),
    ]
    count = metrics.regressions_total.labels(feed="settled")._value.get()
    assert count == 6
    assert load(settled(known=40)) == []
    assert ask(connection, "SELECT count(*) FROM analytics.corrections") == [(0,)]


def test_one_fact_can_correct_and_lose(connection: Connection, load: Load) -> None:
    load(listed(), settled())
    load(settled(known=30, technique=5, transactions=()))
    assert ask(connection, "SELECT field, old, new FROM analytics.corrections") == [("technique", "1", "5")]
    assert ask(connection, "SELECT count(*) FROM analytics.regressions") == [(5,)]
    assert ask(connection, "SELECT technique FROM analytics.events") == [(5,)]


def test_a_late_old_version_fills_gaps_and_corrects_nothing_new(connection: Connection, load: Load) -> None:
    load(listed(), settled(known=30, technique=None, transactions=paid(win={"1": 160})))
    loaded_events = load(settled(known=20, technique=2, transactions=paid(win={"1": 150}, exacta={"1-2": 520})))
    assert [item.changed for item in loaded_events] == [("technique", "transactions.exacta.1-2")]
    assert ask(connection, "SELECT technique, settled_at FROM analytics.events") == [(2, at(30))]
    assert ask(connection, "SELECT market, amount FROM analytics.transactions ORDER BY 1") == [
        ("exacta", 520),
        ("win", 160),
    ]
    assert ask(connection, "SELECT field, old, new FROM analytics.corrections") == [
        ("transactions.win.1", "150", "160")
    ]
    assert ask(connection, "SELECT field FROM analytics.regressions ORDER BY 1") == [
        ("technique",),
        ("transactions.exacta.1-2",),
    ]


def test_another_entity_in_a_slot_inherits_nothing(connection: Connection, load: Load) -> None:
    load(listed())
    other = entry(2, 150, measures={"weight_kg": 47.0}, categories={})
    load(listed(known=-200, entries=(entry(1), other, entry(3), entry(4))))
    assert ask(connection, "SELECT entity_key, measures, categories FROM analytics.entries WHERE slot = 2") == [
        ("river:150", {"weight_kg": 47.0}, {})
    ]
    assert ask(connection, "SELECT count(*) FROM analytics.regressions") == [(0,)]
    assert ask(connection, "SELECT field, new FROM analytics.corrections WHERE field LIKE '%age_years'") == [
        ("entries.2.measures.age_years", None)
    ]


def test_a_card_that_turns_null_keeps_its_entities(connection: Connection, load: Load) -> None:
    load(listed())
    empty = tuple({"slot": slot} for slot in range(1, 5))
    assert load(listed(known=-200, entries=empty, card_key=None)) == []
    assert ask(connection, "SELECT count(entity_key) FROM analytics.entries WHERE measures <> '{}'") == [(4,)]
    assert load(listed(known=-100)) == []


def test_versions_in_one_batch_give_the_same_tables_as_in_several(connection: Connection, loader: Loader) -> None:
    versions = [
        listed(),
        settled(status="provisional", transactions=()),
        settled(known=30),
        observed(),
        settled(known=40, technique=None),
        settled(known=50, outcomes=outcomes(1, 3, 2, 4)),
        listed(known=-200, title="x"),
    ]
    batch = [received(fact) for fact in versions]
    with connection.transaction() as savepoint:
        loader.handle(batch, connection)
        tables_of_one_batch = tables(connection)
        raise psycopg.Rollback(savepoint)
    for item in batch:
        loader.handle([item], connection)
    assert tables(connection) == tables_of_one_batch
    assert tables_of_one_batch["corrections"]
    assert tables_of_one_batch["regressions"]


def test_a_replay_under_changed_rules_replaces_the_first_version(connection: Connection, load: Load) -> None:
    load(listed(), settled(known=20, technique=3))
    loader = Loader(StillClock(), Metrics())
    first = received(settled(known=20, technique=3))
    changed = received(settled(known=20, technique=None, missing_markets=("place",)), first.event_id, revision="job-1")
    loader.handle([changed], connection)
    assert ask(connection, "SELECT technique, missing_markets FROM analytics.events") == [(None, ["place"])]
    assert ask(connection, "SELECT count(*) FROM analytics.corrections") == [(0,)]


def test_children_that_come_first_wait_for_their_event(connection: Connection, load: Load) -> None:
    assert load(settled(), observed()) == []
    assert ask(connection, "SELECT event_key, kind, parked_at FROM analytics.parked ORDER BY kind") == [
        (key(), "observed", START),
        (key(), "settled", START),
    ]
    loaded_events = load(listed())
    assert sorted(item.kind for item in loaded_events) == ["listed", "observed", "settled"]
    assert loaded_events[0].kind == "listed"
    assert ask(connection, "SELECT count(*) FROM analytics.parked") == [(0,)]
    assert ask(connection, "SELECT status FROM analytics.events") == [("settled",)]


def test_parallel_loaders_count_separately_and_the_view_adds_up(connection: Connection, metrics: Metrics) -> None:
    for number, slot in enumerate(("0", "1"), 1):
        Loader(StillClock(), metrics, slot).handle([received(listed(number)), received(settled(number))], connection)
    assert ask(connection, "SELECT DISTINCT slot FROM facts.return_rates ORDER BY 1") == [("0",), ("1",)]
    assert ask(
        connection, "SELECT bets, staked, returned FROM analytics.return_rates WHERE scope = 'all' AND market = 'win'"
    ) == [(8, 800, 320)]


def test_a_part_of_a_batch_is_not_merged_again_with_the_next(connection: Connection, loader: Loader) -> None:
    """The runtime halves a batch that contains an invalid record, within one transaction."""
    for fact in (listed(1), settled(1), listed(2), settled(2)):
        loader.handle([received(fact)], connection)
    assert ask(
        connection, "SELECT bets, staked, returned FROM analytics.return_rates WHERE scope = 'all' AND market = 'win'"
    ) == [(8, 800, 320)]
    assert ask(connection, "SELECT status, version FROM analytics.events") == [("settled", 2)] * 2


def test_return_rates_follow_a_correction(connection: Connection, load: Load) -> None:
    load(listed(), settled())
    load(settled(known=30, transactions=paid(win={"1": 200})))
    rates = (
        "SELECT scope, key, bets, staked, returned, rate FROM analytics.return_rates WHERE market = 'win' ORDER BY 1, 2"
    )
    assert ask(connection, rates) == [
        ("all", "", 4, 400, 200, 0.5),
        ("entity", "river:101", 1, 100, 200, 2.0),
        ("entity", "river:102", 1, 100, 0, 0.0),
        ("entity", "river:103", 1, 100, 0, 0.0),
        ("entity", "river:104", 1, 100, 0, 0.0),
        ("month", "2031-05", 4, 400, 200, 0.5),
        ("slot", "1", 1, 100, 200, 2.0),
        ("slot", "2", 1, 100, 0, 0.0),
        ("slot", "3", 1, 100, 0, 0.0),
        ("slot", "4", 1, 100, 0, 0.0),
        ("venue", "07", 4, 400, 200, 0.5),
    ]
    load(settled(known=40, status="void"))
    assert ask(connection, "SELECT count(*) FROM analytics.return_rates") == [(0,)]


def test_a_market_that_a_later_version_lost_still_counts(connection: Connection, load: Load) -> None:
    load(listed(), settled())
    before = ask(connection, "SELECT * FROM analytics.return_rates ORDER BY 2, 3, 4")
    rest = tuple(row for row in PAID if row.market != "place")
    load(settled(known=30, transactions=rest, missing_markets=("place", "place")))
    load(settled(known=40, transactions=(*rest, *paid(place={"2": 190})), missing_markets=("place",)))
    assert ask(connection, "SELECT missing_markets FROM analytics.events") == [(None,)]
    assert ask(connection, "SELECT * FROM analytics.return_rates ORDER BY 2, 3, 4") == before


@pytest.mark.parametrize(
    ("status", "event_status", "session"),
    [("void", "void", "settled"), ("cancelled", "cancelled", "cancelled"), ("provisional", "provisional", "running")],
)
def test_the_end_of_an_event_shows_in_its_status(
    connection: Connection, load: Load, status: str, event_status: str, session: str
) -> None:
    known = outcomes(1, 2, 3, 4) if status == "provisional" else ()
    load(listed(), settled(status=status, outcomes=known, transactions=(), technique=None))
    assert ask(connection, "SELECT status FROM analytics.events") == [(event_status,)]
    assert ask(connection, "SELECT status FROM analytics.sessions") == [(session,)]
    assert ask(connection, "SELECT count(*) FROM analytics.return_rates") == [(0,)]


@pytest.mark.parametrize(
    ("days", "same_card", "event_status"),
    [(1, True, "postponed"), (3, True, "postponed"), (4, True, "cancelled"), (1, False, "cancelled")],
)
def test_a_cancelled_card_is_postponed_when_its_line_up_is_back_within_three_days(
    connection: Connection, load: Load, days: int, same_card: bool, event_status: str
) -> None:
    load(listed(), settled(status="cancelled", outcomes=(), transactions=()))
    again = DAY + timedelta(days=days)
    load(listed(day=again, card_key="card 7/1" if same_card else "another line-up"), settled(day=again))
    assert ask(connection, "SELECT status FROM analytics.events ORDER BY event_key") == [(event_status,), ("settled",)]


def test_a_rerun_leaves_both_events_settled(connection: Connection, load: Load) -> None:
    again = DAY + timedelta(days=2)
    load(listed(), settled(), listed(day=again), settled(day=again))
    assert ask(connection, "SELECT status FROM analytics.events") == [("settled",), ("settled",)]


def test_a_fact_read_after_its_day_is_known_at_the_estimated_time(connection: Connection, load: Load) -> None:
    load(listed(), observed(known=None, known_after_s=0.0), settled(known=None, known_after_s=900.0))
    assert ask(connection, "SELECT observed_at, settled_at FROM analytics.events") == [(START, at(15))]


def test_a_changed_start_changes_the_estimated_times(connection: Connection, load: Load) -> None:
    load(listed(), settled(known=None, known_after_s=900.0))
    load(listed(known=-200, scheduled_at=at(5)))
    assert ask(connection, "SELECT scheduled_at, settled_at FROM analytics.events") == [(at(5), at(20))]


def test_without_a_schedule_a_fact_is_known_at_the_end_of_its_day(connection: Connection, load: Load) -> None:
    load(listed(scheduled_at=None), settled(known=None, known_after_s=900.0))
    assert ask(connection, "SELECT scheduled_at, settled_at::text FROM analytics.events") == [
        (None, "2031-05-07 00:00:00+00")
    ]


def test_an_entity_has_the_values_of_its_newest_card(connection: Connection, load: Load) -> None:
    def card(number: int, known: float, name: str | None, **categories: int) -> Any:
        info = {"entity_key": "river:101", "name": name, "categories": categories}
        return listed(number, known=known, entries=({"slot": 1, "entity": info},))

    load(card(1, -200, "Newer", branch=2))
    load(card(2, -300, "Older", branch=1, birthplace=40))
    load(card(3, -100, None, branch=2))
    assert ask(connection, "SELECT name, categories FROM analytics.entities") == [
        ("Newer", {"branch": 2, "birthplace": 40})
    ]


def test_a_card_without_a_title_keeps_the_sessions_title(connection: Connection, load: Load) -> None:
    untitled = {"session_key": f"{SOURCE}:2031-05-06:07", "date": DAY, "venue": 7}
    load(listed(1), listed(2, session=untitled))
    load(listed(3, session=untitled))
    assert ask(connection, "SELECT title, grade FROM analytics.sessions") == [("Spring Cup", 3)]


def session_stated(title: str | None, grade: int | None) -> Any:
    return listed().session.model_copy(update={"title": title, "grade": grade})


def test_a_session_has_the_title_and_grade_of_the_card_that_became_known_last(
    connection: Connection, load: Load
) -> None:
    query = "SELECT title, grade FROM analytics.sessions"
    cards = (
        listed(2, known=-100, session=session_stated("Autumn Cup", None)),
        listed(3, known=-200, session=session_stated("Summer Cup", 4)),
        listed(1, known=-300),
    )
    for card in cards:
        load(card)
    assert ask(connection, query) == [("Autumn Cup", 4)]

    load(listed(3, known=-50, session=session_stated("Winter Cup", 5)))
    assert ask(connection, query) == [("Winter Cup", 5)]


def test_reference_data_is_emitted_once_and_keeps_codes_that_it_no_longer_has(
    connection: Connection, load: Load
) -> None:
    def venues(*names: str) -> Reference:
        rows = tuple(ReferenceRow(code=str(code), name=name) for code, name in enumerate(names, start=1))
        return Reference(
            source=SOURCE,
            event_key=f"{SOURCE}:reference:venues",
            known_at=START,
            document_hash="d",
            table="venues",
            rows=rows,
        )

    load(listed(venue=2))
    assert [item.kind for item in load(venues("North", "East"))] == ["reference"]
    assert load(venues("North", "East")) == []
    assert len(load(venues("Up north"))) == 1
    assert ask(connection, "SELECT code, name FROM analytics.venues ORDER BY 1") == [("1", "Up north"), ("2", "East")]
    assert ask(connection, "SELECT venue_name FROM analytics.sessions") == [("East",)]


def test_reference_data_of_an_unknown_table_is_refused(load: Load) -> None:
    with pytest.raises(InvalidEvent, match="venues, markets"):
        load(
            Reference(
                source=SOURCE,
                event_key=f"{SOURCE}:reference:events",
                known_at=START,
                document_hash="d",
                table="events",
                rows=(),
            )
        )


def test_a_prediction_is_stored_once_and_scored_when_its_event_is_settled(
    connection: Connection, loader: Loader, load: Load
) -> None:
    load(listed())
    assert loader.handle([prediction(), prediction()], connection) == []
    loader.handle([prediction()], connection)
    assert ask(connection, "SELECT event_key, slot, head, class, probability, state FROM analytics.predictions") == [
        (key(), 1, "result", "win", 0.25, "card")
    ]
    load(settled())
    assert ask(connection, "SELECT round(log_loss::numeric, 4)::text FROM analytics.prediction_scores") == [("1.3863",)]


def test_a_prediction_waits_until_its_event_is_listed(connection: Connection, loader: Loader, load: Load) -> None:
    """A database that is filled from the topics meets predictions long before their events."""
    loader.handle([prediction(9), prediction(1)], connection)
    loader.handle([prediction(9)], connection)
    parked = ask(connection, "SELECT event_key, kind FROM analytics.parked ORDER BY event_key")

    load(listed(9))

    assert parked == [(key(1), "prediction"), (key(9), "prediction")]
    assert ask(connection, "SELECT event_key FROM analytics.predictions") == [(key(9),)]
    assert ask(connection, "SELECT event_key FROM analytics.parked") == [(key(1),)]


def test_a_prediction_may_come_in_the_batch_that_lists_its_event(connection: Connection, loader: Loader) -> None:
    loader.handle([prediction(1), received(listed(1))], connection)

    assert ask(connection, "SELECT event_key FROM analytics.predictions") == [(key(1),)]
    assert ask(connection, "SELECT count(*) FROM analytics.parked") == [(0,)]


DLQ = {
    "event_id": b"0f0f0f0f-0000-5000-8000-000000000001",
    "dlq.exception-class": b"InvalidEvent",
    "dlq.exception-message": b"boats: none",
    "dlq.attempts": b"3",
    "dlq.first-failed-at": b"2031-05-06T03:00:00+00:00",
}


def test_a_dead_letter_of_another_service_is_stored(connection: Connection, loader: Loader) -> None:
    dead_letter = decode(Record("cleaner.dlq", 0, 7, 0, key().encode(), b"{}", DLQ))
    loader.handle([dead_letter], connection)
    loader.handle([dead_letter], connection)
    assert ask(
        connection,
        'SELECT service, topic, partition, "offset", key, error, message, attempts, failed_at::text, record_id'
        " FROM analytics.dead_letters",
    ) == [
        (
            "cleaner",
            "cleaner.dlq",
            0,
            7,
            key(),
            "InvalidEvent",
            "boats: none",
            3,
            "2031-05-06 03:00:00+00",
            UUID(int=0x0F0F0F0F_0000_5000_8000_000000000001),
        )
    ]


@pytest.mark.parametrize(
    ("at_key", "headers"),
    [
        (b"\xff\x00key", {}),
        (b"key", {"dlq.exception-message": b"a\x00b", "dlq.exception-class": b"\xff"}),
        (b"key", {"dlq.attempts": b"many", "dlq.first-failed-at": b"yesterday", "event_id": b"1"}),
        (b"key", {"dlq.attempts": b"99999999999999999999"}),
    ],
)
def test_any_dead_letter_can_be_stored(
    connection: Connection, loader: Loader, at_key: bytes, headers: dict[str, bytes]
) -> None:
    """One that cannot be stored would become a dead letter of the loader, which the loader reads again, without end."""
    loader.handle([decode(Record("loader.dlq", 0, 1, 0, at_key, b"\xff\x00", DLQ | headers))], connection)
    assert ask(connection, "SELECT count(*) FROM analytics.dead_letters") == [(1,)]


@pytest.mark.parametrize(
    "fact",
    [
        listed(title="a\0b"),
        listed(distance_m=2**40),
        listed(card_key="".join(chr(0x4E00 + (i * 7919) % 20000) for i in range(9000))),
        settled(transactions=(*paid(win={"1": 100}), *paid(win={"1": 100}))),
        settled(outcomes=outcomes(99_999, 1)),
        settled(known=None, known_after_s=1e300),
    ],
    ids=[
        "NUL",
        "a number beyond the column",
        "a key beyond the index",
        "a duplicate payout",
        "a place beyond the column",
        "a time beyond the calendar",
    ],
)
def test_a_value_that_no_table_can_hold_makes_the_record_invalid(
    connection: Connection, loader: Loader, fact: Any
) -> None:
    if fact.kind == "settled":
        loader.handle([received(listed())], connection)
    with pytest.raises(InvalidEvent), connection.transaction():
        loader.handle([received(fact)], connection)
    loader.handle([received(listed(3))], connection)


def test_unusual_texts_and_numbers_are_stored_unchanged(connection: Connection, load: Load) -> None:
    unusual = '\t\\N \\. "quoted", \'\u202e\U0001f6a4\r\n' + "x" * 150
    name = "n" * 5000
    info = {"entity_key": "river:101", "name": name, "categories": {unusual: unusual}}
    load(listed(title=unusual, entries=({"slot": 1, "entity": info, "measures": {unusual: -1.5e-300}},)))
    assert ask(connection, "SELECT title FROM analytics.events") == [(unusual,)]
    assert ask(connection, "SELECT name, categories FROM analytics.entities") == [(name, {unusual: unusual})]
    assert ask(connection, "SELECT measures FROM analytics.entries") == [({unusual: -1.5e-300},)]


def test_a_card_of_an_old_day_can_be_loaded_late(connection: Connection, load: Load) -> None:
    load(listed(day=date(1951, 1, 2)), settled(day=date(1951, 1, 2), outcomes=outcomes(1, None, codes={2: 16})))
    assert ask(connection, "SELECT slot, code, refunded FROM analytics.outcomes WHERE refunded") == [(2, 16, True)]


def test_a_blank_result_page_is_a_regression_only_if_there_was_a_result(connection: Connection, load: Load) -> None:
    blank: dict[str, Any] = {"status": "provisional", "outcomes": (), "transactions": (), "technique": None}

    assert [item.kind for item in load(listed(1), settled(1, known=10, **blank))] == ["listed"]
    assert load(listed(2), settled(2), settled(2, known=30, **blank))[-1].version == 1

    assert ask(connection, "SELECT status FROM analytics.events ORDER BY number") == [("listed",), ("settled",)]
    assert ask(connection, "SELECT DISTINCT event_key FROM analytics.regressions") == [(key(2),)]
