"""The handler: what it predicts, when it keeps silent, and that it may run twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson
import pytest
from psycopg.conninfo import make_conninfo

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.data.events import EventFacts, Events, events_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.serving.deduplication import Tail
from services.predictor.serving.predict import Parts, Predictor
from services.predictor.storage.interface import Changes, Decided, Position
from services.predictor.storage.postgres_facts import PostgresFacts, read_settled
from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import Link
from shared.errors import ConfigError, TransientError
from shared.events import LoadedEvent, Prediction
from shared.records import Received
from shared.topics import PREDICTIONS, specs
from tests.services.predictor.season import SOURCE, Connection, Event, season, store
from tests.services.predictor.serving.serving import (
    PROFILES,
    AlwaysFirst,
    Failing,
    Misfit,
    SetClock,
    Shelf,
    SmallModel,
    model_of,
)
from tests.services.predictor.shared_database import database_of, emptied

Kind = Literal["listed", "observed", "settled"]
PARTS = Parts(profiles=PROFILES)
BROKER = ", ".join(f"broker.{table}" for table in (
    "topics", "partitions", "log", "positions", "leases", "members", "slots", "cursors"
))  # fmt: skip


class NoFacts:
    """Facts that must not be asked for."""

    def settled(self, source: str | None = None) -> list[EventFacts]:
        raise AssertionError(f"asked for {source}")

    def changes(self, after: Position | None) -> Changes:
        raise AssertionError(f"asked for changes after {after}")

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        raise AssertionError(f"asked for {event_keys}")

    def decisions(self, session_keys: Sequence[str]) -> list[Decided]:
        raise AssertionError(f"asked for {session_keys}")

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        raise AssertionError(f"asked for {predictions}")


@pytest.fixture(scope="module")
def shared_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with database_of(postgres) as url:
        yield url


@pytest.fixture
def database_url(shared_url: str) -> str:
    return shared_url


@pytest.fixture
def database(shared_url: str) -> Iterator[Connection]:
    with emptied(shared_url) as connection:
        yield connection
        connection.execute(f"TRUNCATE {BROKER} RESTART IDENTITY")


@pytest.fixture
def past() -> list[Event]:
    return season(4, 12, seed=21)[:36]


@pytest.fixture
def upcoming() -> list[Event]:
    """The last day, which has not happened yet; the days before are its history."""
    return [replace(event, order=()) for event in season(4, 12, seed=21)[36:]]


@pytest.fixture
def loaded(database: Connection, past: list[Event], upcoming: list[Event]) -> Connection:
    store(database, [*past, *upcoming])
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
def history(loaded: Connection) -> Events:
    return events_of(read_settled(loaded), 6)


@pytest.fixture
def model(history: Events) -> SmallModel:
    return model_of(history)


@pytest.fixture
def shelf(model: SmallModel) -> Shelf:
    return Shelf(model)


@pytest.fixture
def predictor(facts: PostgresFacts, shelf: Shelf, clock: SetClock) -> Predictor:
    return Predictor(facts, shelf, clock, PARTS)


def told_of(event: Event, kind: Kind, revision: str = "0", offset: int = 0) -> Received:
    known_at = {"listed": event.listed_at, "settled": event.settled_at}.get(kind, event.scheduled_at)
    message = LoadedEvent(
        source=SOURCE, event_key=event.key, kind=kind, version=1, known_at=known_at, scheduled_at=event.scheduled_at
    )
    record = Record("loaded-events", 3, offset, 0, event.key.encode(), b"", {})
    return Received(message, uuid4(), revision, record)


def predictions(records: Sequence[NewRecord]) -> list[Prediction]:
    return [Prediction.model_validate_json(record.value) for record in records]


def cards(records: Sequence[NewRecord]) -> list[Prediction]:
    return [told for told in predictions(records) if told.state == "card"]


def ids(records: Sequence[NewRecord]) -> list[str]:
    return [record.headers["event_id"].decode() for record in records]


def keep(connection: Connection, records: Sequence[NewRecord]) -> None:
    """Store predictions as the loader does."""
    for record in records:
        body: dict[str, Any] = orjson.loads(record.value)
        decision = body.get("decision")
        connection.execute(
            "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
            " probabilities, decision) SELECT %s, id, %s, %s, %s, %s, %s, %s, %s FROM facts.events"
            " WHERE event_key = %s ON CONFLICT DO NOTHING",
            (record.headers["event_id"].decode(), body["state"], body["model_version"], body["as_of"], body["shadow"],
             body["feature_hash"], orjson.dumps(body["probabilities"]).decode(),
             orjson.dumps(decision).decode() if decision else None, body["event_key"]),
        )  # fmt: skip


def settle(connection: Connection, event: Event, winner: int) -> None:
    """With what loading it writes, so that whoever remembers hears of it."""
    others = [slot for slot in range(1, 7) if slot != winner]
    with connection.transaction():
        (event_id,) = connection.execute(
            "UPDATE facts.events SET status = 'settled', settled_at = %s, version = version + 1 WHERE event_key = %s"
            " RETURNING id",
            (event.settled_at, event.key),
        ).fetchone()  # type: ignore[misc]
        for place, slot in enumerate([winner, *others], 1):
            connection.execute("INSERT INTO facts.outcomes (event_id, slot, place) VALUES (%s, %s, %s)",
                               (event_id, slot, place))  # fmt: skip
        note_version(connection, event_id)


def note_version(connection: Connection, event_id: int) -> None:
    connection.execute(
        "INSERT INTO facts.versions (event_id, kind, version, known_at, revision, record_id, body)"
        " VALUES (%s, 'settled', 1, now(), '0', gen_random_uuid(), '')",
        (event_id,),
    )


def test_a_listed_event_is_predicted_from_its_card(
    predictor: Predictor, upcoming: list[Event], model: SmallModel
) -> None:
    (record,) = [
        found for found in predictor.handle([told_of(upcoming[0], "listed", offset=7)])
        if orjson.loads(found.value)["state"] == "card"
    ]  # fmt: skip

    (told,) = predictions([record])
    assert (record.topic, record.key) == ("predictions", upcoming[0].key.encode())
    assert (told.model_version, told.inputs) == (model.version, ("loaded-events/3/7",))
    assert (told.as_of, told.scheduled_at) == (upcoming[0].listed_at, upcoming[0].scheduled_at)
    assert (told.shadow, told.replayed, told.decision) == (False, False, None)
    heads = ("result", "top3", "trend", "behaviour")
    by_head = {head: [p for p in told.probabilities if p.head == head] for head in heads}
    assert [len(found) for found in by_head.values()] == [6, 6, 3, 18]
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
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event]
) -> None:
    batch = [told_of(event, "listed") for event in upcoming]
    before = Predictor(facts, shelf, clock, PARTS).handle(batch)

    clock.at += timedelta(minutes=30)

    assert Predictor(facts, shelf, clock, PARTS).handle(batch) == before != []


@pytest.mark.parametrize("size", [1, 7])
def test_a_prediction_is_the_same_to_the_byte_however_the_batches_are_cut(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], size: int
) -> None:
    kinds: tuple[Kind, ...] = ("listed", "observed")
    batch = [
        told_of(event, kind, offset=2 * number + part)
        for number, event in enumerate(upcoming)
        for part, kind in enumerate(kinds)
    ]
    together = Predictor(facts, shelf, clock, PARTS).handle(batch)
    cut = Predictor(facts, shelf, clock, PARTS)

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
    predictor: Predictor, upcoming: list[Event], loaded: Connection, facts: PostgresFacts, shelf: Shelf, clock: SetClock
) -> None:
    keep(loaded, predictor.handle([told_of(upcoming[0], "observed", offset=1)]))

    another = Predictor(facts, shelf, clock, PARTS)

    assert another.handle([told_of(upcoming[0], "observed", offset=2)]) == []
    assert len(another.handle([told_of(upcoming[1], "observed", offset=3)])) == 1


def test_a_new_process_does_not_tell_again_what_is_on_its_way_to_the_loader(
    predictor: Predictor, upcoming: list[Event], facts: PostgresFacts, shelf: Shelf, clock: SetClock, database_url: str
) -> None:
    with closing(PostgresBroker(database_url)) as broker, closing(Tail(broker)) as tail:
        broker.ensure_topics(specs(2))
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(predictor.handle([told_of(upcoming[0], "observed", offset=1)]))
            unit.commit()
        forgetful = Predictor(facts, shelf, clock, PARTS)
        reading = Predictor(facts, shelf, clock, PARTS._replace(tail=tail))
        batch = [told_of(upcoming[0], "observed", offset=2)]

        assert reading.handle(batch) == []
        assert len(forgetful.handle(batch)) == 1  # so it is the topic that told


def test_what_another_process_told_meanwhile_is_not_told_again(
    upcoming: list[Event], facts: PostgresFacts, shelf: Shelf, clock: SetClock, database_url: str
) -> None:
    with closing(PostgresBroker(database_url)) as broker, closing(Tail(broker)) as tail:
        broker.ensure_topics(specs(2))
        first = Predictor(facts, shelf, clock, PARTS)
        second = Predictor(facts, shelf, clock, PARTS._replace(tail=tail))
        assert len(second.handle([told_of(upcoming[1], "observed")])) == 1  # it has read the topic once
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(first.handle([told_of(upcoming[0], "observed", offset=1)]))
            unit.commit()

        assert second.handle([told_of(upcoming[0], "observed", offset=2)]) == []


def test_the_topic_is_read_from_where_the_loader_is(
    upcoming: list[Event], predictor: Predictor, database_url: str
) -> None:
    records = predictor.handle([told_of(event, "observed") for event in upcoming[:2]])
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics(specs(1))
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(records)
            unit.commit()
        with closing(broker.consumer("loader", [PREDICTIONS], "a")) as loader:
            polled = loader.poll(5, 1)
            with closing(broker.producer("loader", in_database=True)) as producer, producer.db_unit() as unit:
                unit.advance(polled.token, dict.fromkeys(polled.token.partitions, 1))
                unit.commit()
        tail = Tail(broker)

        assert [str(each) for each in tail.news()] == ids(records)[1:]
        assert tail.news() == []
        tail.close()


def test_a_changed_observation_is_told_under_another_id(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    (first,) = predictor.handle([told_of(upcoming[0], "observed", offset=1)])

    loaded.execute("UPDATE facts.observations SET measures = '{\"lap_s\": 6.7}' WHERE slot = 2")
    (second,) = predictor.handle([told_of(upcoming[0], "observed", offset=2)])

    assert ids([first]) != ids([second])


@pytest.mark.parametrize(
    ("kind", "later"), [("settled", timedelta(days=3)), ("observed", timedelta(days=1)), ("listed", timedelta(days=1))]
)
def test_what_is_past_costs_no_query(
    shelf: Shelf, clock: SetClock, upcoming: list[Event], kind: Kind, later: timedelta
) -> None:
    clock.at += later
    predictor = Predictor(NoFacts(), shelf, clock, PARTS)

    assert predictor.handle([told_of(event, kind) for event in upcoming]) == []


def test_a_replay_predicts_what_is_past_as_of_then_and_says_so(
    predictor: Predictor, past: list[Event], clock: SetClock
) -> None:
    clock.at += timedelta(days=30)

    records = predictor.handle([told_of(past[20], "listed", "replay-1"), told_of(past[21], "listed")])

    told = predictions(records)
    assert {each.event_key for each in told} == {past[20].key}
    assert [(each.state, each.replayed) for each in told] == [("card", True), ("observation", True)]
    assert [each.as_of for each in told] == [past[20].listed_at, past[20].scheduled_at - timedelta(minutes=5)]
    assert {record.headers["revision"] for record in records} == {b"replay-1"}


def test_a_replay_sees_nothing_of_what_came_after(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], loaded: Connection
) -> None:
    """Of what followed the cards: the results of the day's earlier events are no secret at its later observations."""
    asked = [told_of(event, "listed") for event in upcoming]
    live = cards(Predictor(facts, shelf, clock, PARTS).handle(asked))
    for event in upcoming:
        settle(loaded, event, winner=2)
    clock.at += timedelta(days=30)

    again = [told_of(event, "listed", "replay-1") for event in upcoming]
    replayed = cards(Predictor(facts, shelf, clock, PARTS).handle(again))

    assert [each.feature_hash for each in replayed] == [each.feature_hash for each in live] != []
    assert [each.probabilities for each in replayed] == [each.probabilities for each in live]


def test_a_replay_with_the_same_model_changes_nothing_and_another_model_has_its_own_say(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], loaded: Connection, model: SmallModel
) -> None:
    keep(loaded, Predictor(facts, shelf, clock, PARTS).handle([told_of(event, "listed") for event in upcoming]))
    batch = [told_of(event, "listed", "replay-1") for event in upcoming]

    assert Predictor(facts, shelf, clock, PARTS).handle(batch) == []
    other = replace(model, version="20300301-00000002", sharpness=0.2)
    told = predictions(Predictor(facts, Shelf(other), clock, PARTS).handle(batch))

    assert len(told) == 2 * len(upcoming)
    assert {each.model_version for each in told} == {other.version}


def test_a_card_that_was_corrected_after_the_deadline_is_no_reason_to_predict(
    predictor: Predictor, past: list[Event], loaded: Connection
) -> None:
    loaded.execute("UPDATE facts.events SET listed_at = scheduled_at + interval '1 hour' WHERE event_key = %s",
                   (past[20].key,))  # fmt: skip

    assert predictor.handle([told_of(past[20], "listed", "replay-1")]) == []


def test_shadows_predict_beside_the_live_model_and_are_marked(
    predictor: Predictor, shelf: Shelf, upcoming: list[Event], model: SmallModel
) -> None:
    shelf.others = {"20300301-00000002": replace(model, version="20300301-00000002", sharpness=0.3)}

    told = predictions(predictor.handle([told_of(upcoming[0], "observed")]))

    assert [(each.model_version, each.shadow) for each in told] == [
        (model.version, False), ("20300301-00000002", True)
    ]  # fmt: skip
    assert told[0].feature_hash == told[1].feature_hash
    assert told[0].probabilities != told[1].probabilities


def test_shadows_predict_also_while_no_model_is_live(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    predictor = Predictor(facts, Shelf(None, {model.version: model}), clock, PARTS)

    (told,) = predictions(predictor.handle([told_of(upcoming[0], "observed")]))

    assert told.shadow
    assert predictor.model_version is None


def test_a_shadow_that_fails_or_cannot_be_read_costs_no_live_prediction(
    predictor: Predictor, shelf: Shelf, upcoming: list[Event], model: SmallModel
) -> None:
    failing = Failing("20300301-00000002", model.description)
    shelf.others = {failing.version: failing, "20300301-00000003": ConfigError("damaged")}

    told = [predictions(predictor.handle([told_of(event, "observed")])) for event in upcoming[:2]]

    assert [[each.model_version for each in found] for found in told] == [[model.version]] * 2
    assert predictor.detail()["shadows"] == []


def test_a_whole_archive_passes_in_a_few_seconds(shelf: Shelf, clock: SetClock, upcoming: list[Event]) -> None:
    clock.at += timedelta(days=1)
    batch = [told_of(event, "listed") for event in upcoming] * 100
    predictor = Predictor(NoFacts(), shelf, clock, PARTS)

    for _ in range(100):
        assert predictor.handle(batch) == []


def test_without_a_model_nothing_is_predicted_until_one_is_live(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    shelf = Shelf()
    predictor = Predictor(facts, shelf, clock, PARTS)
    batch = [told_of(upcoming[0], "observed")]
    assert predictor.handle(batch) == []

    shelf.one, shelf.number = model, 2
    assert predictor.handle(batch) == []  # within the same second
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle(batch)) == 1
    assert predictor.model_version == model.version


def test_a_model_that_cannot_be_used_leaves_the_old_one_in_use(
    predictor: Predictor, shelf: Shelf, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    predictor.handle([])

    shelf.error, shelf.number = ConfigError("damaged"), 2
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle([told_of(upcoming[0], "observed")])) == 1
    assert predictor.model_version == model.version


def test_a_model_of_another_profile_says_nothing(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event]
) -> None:
    other = PROFILES["made"].model_copy(update={"name": "another"})
    predictor = Predictor(facts, shelf, clock, Parts(profiles={"made": other}))

    assert predictor.handle([told_of(upcoming[0], "observed")]) == []


def test_a_source_that_nobody_knows_how_to_read_is_left_out(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event]
) -> None:
    assert Predictor(facts, shelf, clock, Parts(profiles={})).handle([told_of(upcoming[0], "observed")]) == []


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
    shelf: Shelf, clock: SetClock, upcoming: list[Event], tmp_path: object
) -> None:
    facts = PostgresFacts(Link(make_conninfo(host=str(tmp_path), dbname="none"), "facts", autocommit=True))

    with pytest.raises(TransientError, match="cannot read facts"):
        Predictor(facts, shelf, clock, PARTS).handle([told_of(upcoming[0], "listed")])


def test_a_connection_that_broke_since_is_made_again_at_once(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    batch = [told_of(upcoming[0], "observed")]
    before = predictor.handle(batch)
    loaded.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                   " AND pid <> pg_backend_pid()")  # fmt: skip

    assert predictor.handle(batch) == before


def test_what_settles_meanwhile_is_remembered_for_later_events(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], loaded: Connection
) -> None:
    predictor = Predictor(facts, shelf, clock, PARTS)
    predictor.handle([told_of(upcoming[0], "listed")])
    for event in upcoming[:6]:
        settle(loaded, event, winner=5)
    clock.at = upcoming[6].settled_at - timedelta(minutes=16)

    (told,) = predictor.handle([told_of(upcoming[-1], "observed")])

    (fresh,) = Predictor(facts, shelf, clock, PARTS).handle([told_of(upcoming[-1], "observed")])
    assert told == fresh
    assert len(predictor.memory.history(SOURCE) or ()) == 42


def test_decisions_know_their_session_so_far(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], loaded: Connection, model: SmallModel
) -> None:
    shelf = Shelf(replace(model, policy=AlwaysFirst()))
    predictor = Predictor(facts, shelf, clock, PARTS)
    records = predictor.handle([told_of(event, "observed") for event in upcoming[:3]])
    keep(loaded, records)
    settle(loaded, upcoming[0], winner=2)
    loaded.execute(
        "INSERT INTO facts.transactions (event_id, market, selection, amount, ordinal)"
        " SELECT id, 'win', '2', 450, 1 FROM facts.events WHERE event_key = %s",
        (upcoming[0].key,),
    )

    restarted = Predictor(facts, shelf, clock, PARTS)
    (later,) = predictions(restarted.handle([told_of(upcoming[5], "observed")]))

    assert later.decision is not None
    assert later.decision.action == "back 1"
    assert later.decision.values["left"] == pytest.approx(7 / 12)
    assert later.decision.values["staked"] == pytest.approx(3 / 12)
    assert later.decision.values["net"] == pytest.approx(-1 / 12)
    assert later.decision.values["win"] == pytest.approx(later.probabilities[0].probability)


def test_a_policy_that_does_not_fit_keeps_no_prediction_back(
    predictor: Predictor, shelf: Shelf, upcoming: list[Event], model: SmallModel
) -> None:
    shelf.one = replace(model, policy=Misfit())

    (told,) = predictions(predictor.handle([told_of(upcoming[0], "observed")]))

    assert told.decision is None


def test_an_explanation_says_which_starts_counted_and_what_each_group_did(
    predictor: Predictor, upcoming: list[Event], past: list[Event]
) -> None:
    event = upcoming[4]
    predictor.handle([told_of(event, "listed")])

    found = predictor.explain(event.key, "card")

    assert found is not None
    assert (found.event_key, found.state, found.as_of_us) == (event.key, "card", event.listed_at.timestamp() * 1e6)
    assert [each.entity for each in found.slots] == list(event.entities)
    assert sum(each.win for each in found.slots) == pytest.approx(1)
    assert all(each.without.keys() == {"card", "observation", "history"} for each in found.slots)
    assert any(each.without["history"] != pytest.approx(each.win) for each in found.slots)
    for each in found.slots:
        starts = sorted(
            (start.settled_at.timestamp() * 1e6 for start in past if each.entity in start.entities), reverse=True
        )
        assert [start.settled_us for start in each.past] == starts[:16]
        assert sum(start.weight for start in each.past) == pytest.approx(1 if starts else 0)


def test_what_nobody_knows_is_not_explained(predictor: Predictor, upcoming: list[Event], loaded: Connection) -> None:
    loaded.execute("UPDATE facts.events SET observed_at = NULL WHERE event_key = %s", (upcoming[0].key,))

    assert predictor.explain("made-up:2030-03-01:99:01", "card") is None
    assert predictor.explain("elsewhere:2030-03-01:99:01", "card") is None
    assert predictor.explain(upcoming[0].key, "observation") is None


def test_drift_names_what_moved(predictor: Predictor, model: SmallModel, history: Events) -> None:
    folded = History(PROFILES["made"])
    folded.fold(history)
    inputs = inputs_of(history, folded, model.description.encoding, "card")
    drift = predictor.drift
    drift.judge(model)
    for _ in range(10):
        drift.note(inputs, "card")
    before = drift.worst()
    name = "starts"
    moved = inputs.entry.copy()
    moved[..., model.description.encoding.entry_features.index(name)] += 40
    for _ in range(60):
        drift.note(replace(inputs, entry=moved), "card")

    now = drift.worst()
    assert max(now, key=lambda each: now[each] - before.get(each, 0.0)) == name
    assert now[name] > 0.25
    assert set(drift.groups()) == {"card", "history"}
