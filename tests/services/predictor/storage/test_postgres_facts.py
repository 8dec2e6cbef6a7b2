"""Facts from a real database, written by the real loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from headrace.database.embedded import EmbeddedPostgres
from services.loader.load import Loader
from services.predictor.data.events import EntryFacts
from services.predictor.data.instants import microseconds_of
from services.predictor.storage.interface import EventChange
from services.predictor.storage.postgres_facts import (
    PostgresFacts,
    read_changes,
    read_decisions,
    read_events,
    read_predictions,
    read_settled,
)
from shared.broker.contract import Record
from shared.database.connection import ReconnectingConnection
from shared.errors import TransientError
from shared.events import Decision, HeadProbability, Prediction
from shared.records import DecodedRecord, decode, encode
from shared.runtime.metrics import Metrics
from shared.topics import PREDICTIONS
from tests.services.loader.conftest import own_database
from tests.services.loader.facts import DAY, StillClock, at, key, listed, observed, outcomes, paid, received, settled

Connection = psycopg.Connection[Any]
Load = Callable[..., None]


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of one database for all of these tests: creating one takes longer than any test."""
    with own_database(postgres) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    """An autocommit connection of the owner; there are no facts yet."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE facts.sources CASCADE")
        yield connection


@contextmanager
def loading(connection: Connection, *facts: Any, slot: str = "0") -> Iterator[None]:
    """Facts stored by the loader, in a transaction that ends with the context.

    Concurrent loaders do not block each other if each has its own slot and the events of its own day.
    """
    with connection.transaction():
        loader = Loader(StillClock(), Metrics(), slot, stripes=10_000)
        loader.handle([fact if isinstance(fact, DecodedRecord) else received(fact) for fact in facts], connection)
        yield


def day(number: int) -> date:
    return DAY + timedelta(days=number)


@pytest.fixture
def load(database: Connection) -> Load:
    def load_now(*facts: Any) -> None:
        with loading(database, *facts):
            pass

    return load_now


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    """A second connection, on which a transaction may be left open."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def us(minutes: float) -> float:
    return microseconds_of(at(minutes))


def prediction_record(
    number: int, minutes: float, *, p: Sequence[float] = (0.4, 0.3, 0.2, 0.1), action: str | None = None, **changes: Any
) -> DecodedRecord:
    """A prediction made that many minutes after START, as the loader gets it."""
    fields: dict[str, Any] = {
        "source": "river",
        "event_key": key(number),
        "as_of": at(minutes),
        "state": "card",
        "model_version": "m1",
        "feature_hash": "f",
        "inputs": (),
        "probabilities": tuple(
            HeadProbability(head="result", slot=slot, label="win", probability=each) for slot, each in enumerate(p, 1)
        ),
        "decision": Decision(action=action, values={action: -0.1}) if action else None,
    }
    new = encode(Prediction(**(fields | changes)), PREDICTIONS, "prediction/1", uuid4(), "predictor")
    return decode(Record(PREDICTIONS, 0, 0, 0, new.key, new.value, new.headers))


def all_facts(number: int, **changes: Any) -> list[Any]:
    return [listed(number), observed(number), settled(number, **changes)]


def test_events_of_every_status_are_read(database: Connection, load: Load) -> None:
    load(listed(1), listed(2), observed(2), *all_facts(3), listed(4), settled(4, status="void", transactions=()))

    events = read_events(database, [key(4), key(3), key(2), key(1), key(1), "river:2031-05-06:07:99"])

    assert [(event.number, event.status) for event in events] == [
        (1, "listed"),
        (2, "observed"),
        (3, "settled"),
        (4, "void"),
    ]
    assert [event.settled_us for event in events] == [None, None, us(20), us(20)]
    assert (events[0].listed_us, events[1].observed_us, events[2].scheduled_us) == (us(-300), us(-10), us(60))
    assert (events[0].title, events[0].session_title, events[0].grade) == ("heat", "Spring Cup", 3)


def test_an_entry_has_its_card_its_observation_and_its_outcome(database: Connection, load: Load) -> None:
    load(listed(), observed(), settled(outcomes=outcomes(1, None, 2, codes={2: 14}), transactions=paid(win={"1": 160})))

    (event,) = read_events(database, [key()])

    assert event.entries[:2] == (
        EntryFacts(
            1,
            "river:101",
            {"weight_kg": 51.0, "age_years": 30.0},
            {"motor_number": 11},
            1,
            {"exhibition_time_s": 6.7},
            1,
            None,
            1,
            0.1,
            False,
            160,
        ),
        EntryFacts(
            2,
            "river:102",
            {"weight_kg": 52.0, "age_years": 30.0},
            {"motor_number": 12},
            2,
            {"exhibition_time_s": 6.7},
            None,
            14,
            2,
            0.1,
            True,
            None,
        ),
    )
    assert event.entries[3]._replace(measures={}, categories={}, observed={}) == EntryFacts(
        4, "river:104", observed_course=4
    )
    assert event.conditions == {"weather": 1, "wind_m_s": 3.0}  # the observation's, not those of the result
    assert event.amount is None


def test_settled_events_are_read_up_to_a_day(database: Connection, load: Load) -> None:
    next_day = DAY + timedelta(days=1)
    load(*all_facts(1), *all_facts(2, known=50), listed(3), listed(4), settled(4, status="provisional"))
    load(listed(1, day=next_day), settled(1, day=next_day))

    def keys(until: date | None = None) -> list[str]:
        return [event.event_key for event in read_settled(database, until)]

    assert keys() == [key(1), key(2), key(1, next_day)]
    assert keys(DAY) == [key(1), key(2)]
    assert read_settled(database) == read_events(database, keys())


def test_a_correction_is_read_and_reported_as_a_change(database: Connection, load: Load) -> None:
    load(*all_facts(1))
    position = read_changes(database, None).position
    load(
        settled(1, known=40, outcomes=outcomes(2, 1, 3, 4), transactions=paid(win={"2": 240}, trifecta={"2-1-3": 9000}))
    )

    (event,) = read_settled(database)
    changes = read_changes(database, position)

    assert [entry.place for entry in event.entries] == [2, 1, 3, 4]
    assert (event.entries[1].win_amount, event.amount, event.settled_us) == (240, 9000, us(40))
    assert changes.events == (EventChange(key(1), 4, "settled", us(40)),)


def test_repeated_facts_are_not_a_change(database: Connection, load: Load) -> None:
    first = read_changes(database, None)
    load(*all_facts(1))
    second = read_changes(database, first.position)
    load(*all_facts(1))  # once more: nothing is stored
    load(listed(2), observed(2))  # no result

    assert [change.event_key for change in second.events] == [key(1)]
    assert read_changes(database, second.position).events == ()


def test_a_late_commit_is_a_change_once_it_is_committed(database: Connection, other: Connection, load: Load) -> None:
    """The slow loader writes before the quick one, and commits after the reader has read the quick one's changes."""
    load(listed(day=day(1)), listed(day=day(2)))
    position = read_changes(database, None).position
    with loading(other, settled(day=day(1)), slot="slow"):
        load(settled(day=day(2)))
        during = read_changes(database, position)
        again = read_changes(database, during.position)
    after = read_changes(database, again.position)

    keys = [[change.event_key for change in look.events] for look in (during, again, after)]
    assert keys == [[key(day=day(2))], [], [key(day=day(1))]]
    assert read_changes(database, after.position).events == ()


def test_a_position_read_during_a_write_does_not_miss_it(database: Connection, other: Connection, load: Load) -> None:
    load(listed(day=day(1)))
    with loading(other, settled(day=day(1))):
        position = read_changes(database, None).position
        assert read_settled(database) == []

    assert [change.event_key for change in read_changes(database, position).events] == [key(day=day(1))]


def test_a_rollback_is_not_a_change(database: Connection, other: Connection, load: Load) -> None:
    load(listed())
    position = read_changes(database, None).position
    with loading(other, settled()):
        raise psycopg.Rollback

    assert read_changes(database, position).events == ()


@pytest.mark.parametrize("order", [(6, 5, 4, 3, 2, 1), (3, 1, 6, 2, 5, 4), (1, 2, 3, 4, 5, 6)])
def test_each_of_many_writers_is_reported_once_when_it_commits(
    database: Connection, database_url: str, load: Load, order: tuple[int, ...]
) -> None:
    """They write in the order of their numbers and commit in another order; changes are read after every step."""
    load(*(listed(day=day(number)) for number in order))
    look, steps = read_changes(database, None), []
    writers: dict[int, ExitStack] = {}
    for number in sorted(order):
        writers[number] = ExitStack()
        connection = writers[number].enter_context(psycopg.connect(database_url, autocommit=True))
        writers[number].enter_context(loading(connection, settled(day=day(number)), slot=str(number)))
        look = read_changes(database, look.position)
        assert look.events == ()
    for number in order:
        writers[number].close()
        look = read_changes(database, look.position)
        steps.append([change.event_key for change in look.events])

    assert steps == [[key(day=day(number))] for number in order]


def test_an_event_that_is_no_longer_settled_is_a_change(database: Connection, load: Load) -> None:
    load(*all_facts(1))
    position = read_changes(database, None).position
    load(settled(1, known=60, status="void", outcomes=outcomes(None, None, None, None)))

    (change,) = read_changes(database, position).events

    assert change.status == "void"
    assert read_settled(database) == []


def test_transaction_numbers_of_another_server_are_not_changes(database: Connection, load: Load) -> None:
    """A copied database contains transaction numbers that are in the future here."""
    load(*all_facts(1))
    database.execute("UPDATE facts.versions SET written_by = '9000000000000'::xid8")
    position = read_changes(database, None).position
    load(listed(2), settled(2))

    assert [change.event_key for change in read_changes(database, position).events] == [key(2)]


def test_a_decision_is_the_newest_live_ones_before_the_start(database: Connection, load: Load) -> None:
    load(listed(1), listed(2), listed(3), listed(1, venue=8))
    load(
        prediction_record(1, -60, action="old"),
        prediction_record(1, -5, action="newest", state="observation"),
        prediction_record(1, 5, action="too late"),
        prediction_record(1, -1, action="shadow", shadow=True),
        prediction_record(2, -60, action="1"),
        prediction_record(2, -30),
        prediction_record(1, -60, action="elsewhere", event_key=key(1, venue=8)),
    )

    decisions = read_decisions(database, [key(1)[:-3]])

    assert [(each.event_key, each.state, each.as_of_us, each.decision) for each in decisions] == [
        (key(1), "observation", us(-5), Decision(action="newest", values={"newest": -0.1})),
        (key(2), "card", us(-60), Decision(action="1", values={"1": -0.1})),
    ]


def test_the_newest_live_prediction_before_the_start_is_read(database: Connection, load: Load) -> None:
    load(*all_facts(1), listed(2))
    load(
        prediction_record(1, -60),
        prediction_record(1, -30, p=(0.7, 0.1, 0.1, 0.1), model_version="m2"),
        prediction_record(1, 5),
        prediction_record(2, -60),
    )
    load(prediction_record(1, -20, p=(0.9, 0.1, 0.0, 0.0), shadow=True))

    (prediction,) = read_predictions(database)

    assert (prediction.event_key, prediction.state, prediction.winner, prediction.model_version) == (
        key(1),
        "card",
        1,
        "m2",
    )
    assert (prediction.p_win, prediction.as_of_us) == ({1: 0.7, 2: 0.1, 3: 0.1, 4: 0.1}, us(-30))


def test_predictions_of_a_dead_heat_are_not_read(database: Connection, load: Load) -> None:
    load(listed(1), settled(1, outcomes=outcomes(1, 1, 3, 4)), prediction_record(1, -60))

    assert read_predictions(database) == []


@pytest.fixture
def predictor_url(postgres: EmbeddedPostgres, database_url: str) -> str:
    """The URL under the service's own role."""
    postgres.set_passwords(("headrace_predictor",))
    return postgres.url_with_password("headrace_predictor", str(conninfo_to_dict(database_url)["dbname"]))


def test_the_services_role_may_read_facts_and_no_bodies(load: Load, predictor_url: str) -> None:
    prediction = prediction_record(1, -60, action="1")
    load(*all_facts(1))
    facts = PostgresFacts(ReconnectingConnection(predictor_url, "test", autocommit=True))
    position = facts.changes(None).position
    load(prediction, settled(1, known=40, technique=2))

    assert [event.event_key for event in facts.events([key(1)])] == [key(1)]
    assert facts.settled() == facts.events([key(1)])
    assert [change.event_key for change in facts.changes(position).events] == [key(1)]
    assert [each.decision.action for each in facts.decisions([key(1)[:-3]])] == ["1"]
    assert facts.loaded([prediction.event_id, uuid4()]) == {prediction.event_id}
    facts.close()
    with psycopg.connect(predictor_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT body FROM facts.versions")


def test_an_unreachable_database_is_a_transient_error() -> None:
    facts = PostgresFacts(ReconnectingConnection("postgresql://nobody@127.0.0.1:1/none", "test", autocommit=True))

    for read in (lambda: facts.events(["a"]), lambda: facts.changes(None), lambda: facts.loaded([])):
        with pytest.raises(TransientError, match="cannot read facts"):
            read()


def test_the_number_of_queries_does_not_grow_with_the_events(database: Connection, load: Load, tmp_path: Path) -> None:
    load(*(fact for number in range(1, 10) for fact in all_facts(number)))
    counts = []
    for last in (1, 9):
        trace = tmp_path / f"{last}.trace"
        with trace.open("w") as file:
            database.pgconn.trace(file.fileno())
            events = read_events(database, [key(number) for number in range(1, last + 1)])
            database.pgconn.untrace()
        assert len(events) == last
        counts.append(trace.read_text().count("ReadyForQuery"))

    assert counts[0] == counts[1] > 4
