"""The handler: what it predicts, when it keeps silent, and that it may run twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import numpy as np
import orjson
import pytest
from psycopg.conninfo import make_conninfo

from services.predictor.facts import Cards, Told
from services.predictor.postgres_facts import PostgresFacts
from services.predictor.predict import Predictor
from services.predictor.registry import LIVE, Registry
from shared.broker.contract import NewRecord, Record
from shared.broker.postgres_link import Link
from shared.errors import TransientError
from shared.events import LoadedEvent, Prediction
from shared.records import Received
from tests.services.predictor.conftest import Schooled
from tests.services.predictor.season import SOURCE, Connection, Event, season, store

Kind = Literal["listed", "observed", "settled"]


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


class NoFacts:
    """Facts that must not be asked for."""

    def cards(self, event_keys: Sequence[str]) -> Cards:
        raise AssertionError(f"asked for {event_keys}")

    def told(self, event_keys: Sequence[str]) -> list[Told]:
        raise AssertionError(f"asked for {event_keys}")

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        raise AssertionError(f"asked for {predictions}")


@pytest.fixture
def upcoming() -> list[Event]:
    """The last day, which has not happened yet; the days before are its history."""
    return [replace(event, order=()) for event in season(4, 12, seed=21)[36:]]


@pytest.fixture
def loaded(database: Connection, upcoming: list[Event]) -> Connection:
    store(database, [*season(4, 12, seed=21)[:36], *upcoming])
    return database


@pytest.fixture
def clock(upcoming: list[Event]) -> SetClock:
    return SetClock(upcoming[0].listed_at + timedelta(minutes=1))


@pytest.fixture
def facts(loaded: Connection, database_url: str) -> Iterator[PostgresFacts]:
    facts = PostgresFacts(Link(database_url, "facts", autocommit=True))
    yield facts
    facts.close()


@pytest.fixture
def predictor(facts: PostgresFacts, schooled: Schooled, clock: SetClock) -> Predictor:
    return Predictor(facts, schooled.registry, clock)


def told_of(event: Event, kind: Kind, revision: str = "0", offset: int = 0) -> Received:
    known_at = {"listed": event.listed_at, "settled": event.settled_at}.get(kind, event.scheduled_at)
    message = LoadedEvent(
        source=SOURCE, event_key=event.key, kind=kind, version=1, known_at=known_at, scheduled_at=event.scheduled_at
    )
    record = Record("loaded-events", 3, offset, 0, event.key.encode(), b"", {})
    return Received(message, uuid4(), revision, record)


def predictions(records: Sequence[NewRecord]) -> list[Prediction]:
    return [Prediction.model_validate_json(record.value) for record in records]


def test_a_listed_event_is_predicted_from_its_card(
    predictor: Predictor, upcoming: list[Event], schooled: Schooled
) -> None:
    event = replace(upcoming[0], observed=False)

    (record,) = [
        found for found in predictor.handle([told_of(event, "listed", offset=7)])
        if orjson.loads(found.value)["state"] == "card"
    ]  # fmt: skip

    (told,) = predictions([record])
    assert (record.topic, record.key) == ("predictions", event.key.encode())
    assert (told.model_version, told.inputs) == (schooled.report["version"], ("loaded-events/3/7",))
    assert (told.as_of, told.scheduled_at) == (event.listed_at, event.scheduled_at)
    by_head = {
        head: [p for p in told.probabilities if p.head == head] for head in ("result", "top3", "trend", "behaviour")
    }
    assert {head: len(found) for head, found in by_head.items()} == {
        "result": 6,
        "top3": 6,
        "trend": 3,
        "behaviour": 18,
    }
    assert sum(p.probability for p in by_head["result"]) == pytest.approx(1)
    assert [p.slot for p in by_head["result"]] == [1, 2, 3, 4, 5, 6]


def test_an_observed_event_is_predicted_as_of_its_observation(predictor: Predictor, upcoming: list[Event]) -> None:
    (told,) = predictions(predictor.handle([told_of(upcoming[3], "observed")]))

    assert told.state == "observation"
    assert told.as_of == upcoming[3].scheduled_at - timedelta(minutes=5)


def test_a_card_changed_after_the_observation_changes_both_states(predictor: Predictor, upcoming: list[Event]) -> None:
    told = predictions(predictor.handle([told_of(upcoming[3], "listed")]))

    assert [prediction.state for prediction in told] == ["card", "observation"]


def test_the_wall_clock_changes_nothing_in_a_prediction(
    facts: PostgresFacts, schooled: Schooled, clock: SetClock, upcoming: list[Event]
) -> None:
    batch = [told_of(event, "listed") for event in upcoming]
    before = Predictor(facts, schooled.registry, clock).handle(batch)

    clock.at += timedelta(minutes=30)

    assert Predictor(facts, schooled.registry, clock).handle(batch) == before


@pytest.mark.parametrize("size", [1, 7])
def test_a_prediction_is_the_same_to_the_byte_however_the_batches_are_cut(
    facts: PostgresFacts, schooled: Schooled, clock: SetClock, upcoming: list[Event], size: int
) -> None:
    kinds: tuple[Kind, ...] = ("listed", "observed")
    batch = [
        told_of(event, kind, offset=2 * number + part)
        for number, event in enumerate(upcoming)
        for part, kind in enumerate(kinds)
    ]
    together = Predictor(facts, schooled.registry, clock).handle(batch)
    cut = Predictor(facts, schooled.registry, clock)

    records = [record for start in range(0, len(batch), size) for record in cut.handle(batch[start : start + size])]

    assert len(together) == 2 * len(upcoming)
    assert sorted(records, key=lambda record: record.value) == sorted(together, key=lambda record: record.value)


def test_a_repeated_batch_gives_the_same_records(predictor: Predictor, upcoming: list[Event]) -> None:
    batch = [told_of(event, "observed", offset=number) for number, event in enumerate(upcoming)]

    assert predictor.handle(batch) == predictor.handle(batch) != []


def test_another_record_that_changes_no_feature_is_told_no_second_time(
    predictor: Predictor, upcoming: list[Event]
) -> None:
    first = predictor.handle([told_of(upcoming[0], "observed", offset=1)])
    second = predictor.handle([told_of(upcoming[0], "observed", offset=2)])

    assert len(first) == 1
    assert second == []


def test_a_new_process_does_not_tell_again_what_is_loaded(
    predictor: Predictor,
    upcoming: list[Event],
    loaded: Connection,
    facts: PostgresFacts,
    schooled: Schooled,
    clock: SetClock,
) -> None:
    keep(loaded, predictor.handle([told_of(upcoming[0], "observed", offset=1)]))

    another = Predictor(facts, schooled.registry, clock)

    assert another.handle([told_of(upcoming[0], "observed", offset=2)]) == []
    assert len(another.handle([told_of(upcoming[1], "observed", offset=3)])) == 1


def test_a_changed_observation_is_told_under_another_id(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    (first,) = predictor.handle([told_of(upcoming[0], "observed", offset=1)])

    loaded.execute("UPDATE facts.observations SET measures = '{\"lap_s\": 6.7}' WHERE slot = 2")
    (second,) = predictor.handle([told_of(upcoming[0], "observed", offset=2)])

    assert first.headers["event_id"] != second.headers["event_id"]


@pytest.mark.parametrize(
    ("kind", "revision", "later"),
    [("listed", "replay-1", timedelta(0)), ("settled", "0", timedelta(days=3)), ("observed", "0", timedelta(days=1))],
)
def test_what_is_past_or_replayed_costs_no_query(
    schooled: Schooled, clock: SetClock, upcoming: list[Event], kind: Kind, revision: str, later: timedelta
) -> None:
    clock.at += later
    predictor = Predictor(NoFacts(), schooled.registry, clock)

    assert predictor.handle([told_of(event, kind, revision) for event in upcoming]) == []


def test_a_whole_archive_passes_in_a_few_seconds(schooled: Schooled, clock: SetClock, upcoming: list[Event]) -> None:
    clock.at += timedelta(days=1)
    batch = [told_of(event, "listed") for event in upcoming] * 100
    predictor = Predictor(NoFacts(), schooled.registry, clock)

    for _ in range(100):
        assert predictor.handle(batch) == []


def test_without_a_model_nothing_is_predicted_until_one_is_live(
    facts: PostgresFacts, schooled: Schooled, clock: SetClock, upcoming: list[Event], tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    predictor = Predictor(facts, registry, clock)
    batch = [told_of(upcoming[0], "observed")]
    assert predictor.handle(batch) == []

    model = schooled.registry.live()
    assert model is not None
    registry.set_live(registry.save(model.description, model.network))
    assert predictor.handle(batch) == []  # within the same second
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle(batch)) == 1
    assert predictor.model_version == model.version


def test_a_model_that_cannot_be_used_leaves_the_old_one_in_use(
    facts: PostgresFacts, schooled: Schooled, clock: SetClock, upcoming: list[Event], tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    model = schooled.registry.live()
    assert model is not None
    registry.set_live(registry.save(model.description, model.network))
    predictor = Predictor(facts, registry, clock)
    predictor.handle([])

    (tmp_path / LIVE).unlink()
    (tmp_path / LIVE).write_text("20990101-ffffffff\n")
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle([told_of(upcoming[0], "observed")])) == 1
    assert predictor.model_version == model.version


def test_an_event_with_more_entries_than_the_model_knows_is_left_out(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    loaded.execute("INSERT INTO facts.entries (event_id, slot) SELECT id, 7 FROM facts.events WHERE event_key = %s",
                   (upcoming[0].key,))  # fmt: skip

    told = predictions(predictor.handle([told_of(event, "observed") for event in upcoming[:2]]))

    assert [prediction.event_key for prediction in told] == [upcoming[1].key]


@pytest.mark.parametrize("change", ["status = 'cancelled'", "scheduled_at = NULL", "listed_at = NULL"])
def test_an_event_that_changed_since_it_was_told_is_left_out(
    predictor: Predictor, upcoming: list[Event], loaded: Connection, change: str
) -> None:
    loaded.execute(f"UPDATE facts.events SET {change} WHERE event_key = %s", (upcoming[0].key,))

    told = predictions(predictor.handle([told_of(event, "observed") for event in upcoming[:2]]))

    assert [prediction.event_key for prediction in told] == [upcoming[1].key]


def test_a_database_that_is_away_is_a_transient_error(
    schooled: Schooled, clock: SetClock, upcoming: list[Event], tmp_path: Path
) -> None:
    facts = PostgresFacts(Link(make_conninfo(host=str(tmp_path), dbname="none"), "facts", autocommit=True))

    with pytest.raises(TransientError, match="cannot read facts"):
        Predictor(facts, schooled.registry, clock).handle([told_of(upcoming[0], "listed")])


def test_a_connection_that_broke_since_is_made_again_at_once(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    batch = [told_of(upcoming[0], "observed")]
    before = predictor.handle(batch)
    loaded.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                   " AND pid <> pg_backend_pid()")  # fmt: skip

    assert predictor.handle(batch) == before


def test_a_settled_event_scores_what_was_told_of_it(
    predictor: Predictor, upcoming: list[Event], loaded: Connection, clock: SetClock
) -> None:
    event = upcoming[2]
    records = predictor.handle([told_of(event, "listed")])
    keep(loaded, records)
    settle(loaded, event, winner=4)
    clock.at = event.settled_at + timedelta(minutes=1)

    predictor.handle([told_of(event, "settled")] * 2)

    expected = {
        told.state: -np.log(next(p.probability for p in told.probabilities if (p.head, p.slot) == ("result", 4)))
        for told in predictions(records)
    }
    summary = predictor.scores.summary()
    assert {state: found["log_loss"] for state, found in summary.items()} == pytest.approx(expected)
    assert [found["events"] for found in summary.values()] == [1, 1]
    assert predictor.detail() == {"model_version": predictor.model_version, "scores": summary}
    assert summary["card"]["base_log_loss"] == summary["observation"]["base_log_loss"] > 0


def keep(connection: Connection, records: Sequence[NewRecord]) -> None:
    """Store predictions as the loader does."""
    for record in records:
        body: dict[str, Any] = orjson.loads(record.value)
        connection.execute(
            "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
            " probabilities) SELECT %s, id, %s, %s, %s, %s, %s, %s FROM facts.events WHERE event_key = %s",
            (record.headers["event_id"].decode(), body["state"], body["model_version"], body["as_of"], body["shadow"],
             body["feature_hash"], orjson.dumps(body["probabilities"]).decode(), body["event_key"]),
        )  # fmt: skip


def settle(connection: Connection, event: Event, winner: int) -> None:
    connection.execute("UPDATE facts.events SET status = 'settled', settled_at = %s WHERE event_key = %s",
                       (event.settled_at, event.key))  # fmt: skip
    others = [slot for slot in range(1, 7) if slot != winner]
    for place, slot in enumerate([winner, *others], 1):
        connection.execute(
            "INSERT INTO facts.outcomes (event_id, slot, place) SELECT id, %s, %s FROM facts.events"
            " WHERE event_key = %s",
            (slot, place, event.key),
        )
