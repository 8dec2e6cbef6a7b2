"""A database with hand-made events, and a client connected to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import EmbeddedPostgres
from headrace.frames import Headrace, connect
from services.loader.load import Loader
from shared.broker.contract import Record
from shared.events import Conditions, Decision, HeadProbability, Prediction
from shared.records import DecodedRecord, decode, encode
from shared.runtime.metrics import Metrics
from shared.topics import PREDICTIONS
from tests.services.loader import facts
from tests.services.loader.conftest import own_database

NEXT = facts.DAY + timedelta(days=1)
DEAD_LETTER = """
INSERT INTO facts.dead_letters VALUES ('cleaner', gen_random_uuid(), 'cleaner.dlq', 2, 17, 'river:2031-05-06:07:01',
    'InvalidEvent', 'expected a slot, got 9', 1, '2031-05-06 23:59:59.5+00');
INSERT INTO facts.markets (source_id, code, name) SELECT id, 'win', 'Winner' FROM facts.sources;
"""
SqlRows = Callable[[str], list[dict[str, Any]]]


def predicted(number: int, model: str, shadow: bool = False, **overrides: Any) -> DecodedRecord:
    """A prediction with classes of slots and of the event, with awkward numbers."""
    heads = [
        *(HeadProbability(head="result", slot=slot, label="win", probability=0.1 * slot) for slot in range(1, 5)),
        HeadProbability(head="top3", slot=2, label="top3", probability=1 / 3),
        HeadProbability(head="trend", slot=None, label="mid", probability=5e-324),
    ]
    fields: dict[str, Any] = {
        "source": facts.SOURCE, "event_key": facts.key(number), "as_of": facts.at(-5), "state": "card",
        "model_version": model, "feature_hash": "f", "inputs": (), "probabilities": tuple(heads), "shadow": shadow,
        "decision": Decision(action="1", values={"1": 0.125, "none": 0.0}),
    }  # fmt: skip
    record_id = UUID(int=1000 * number + len(model) + shadow)
    encoded = encode(Prediction(**(fields | overrides)), PREDICTIONS, "prediction/1", record_id, "predictor")
    return decode(Record(PREDICTIONS, 0, 0, 0, encoded.key, encoded.value, encoded.headers))


def hand_made_records() -> list[list[DecodedRecord]]:
    """Batches for the loader: every state of an event, a correction, a regression, a parked fact, predictions."""
    cards = [facts.listed(number) for number in range(1, 6)]
    cards += [facts.listed(1, venue=12), facts.listed(1, day=NEXT), facts.listed(2, day=NEXT, scheduled_at=None)]
    odd = facts.listed(3, day=NEXT, title='it\'s "odd" \\ 100 %', entries=(facts.entry(1, measures={}), facts.entry(2)))
    some_out = facts.outcomes(1, 2, None, None, codes={3: 14, 4: 1})
    return [
        [facts.received(fact) for fact in [*cards, odd]],
        [facts.received(facts.observed(1)), facts.received(facts.observed(2, conditions=Conditions()))],
        [
            facts.received(facts.settled(1)),
            facts.received(facts.settled(2, outcomes=some_out)),
            facts.received(facts.settled(3, missing_markets=("win",))),
            facts.received(facts.settled(4, status="void", outcomes=(), transactions=())),
            facts.received(facts.settled(5, status="cancelled", outcomes=(), transactions=())),
            facts.received(facts.settled(1, venue=12, status="provisional")),
            facts.received(facts.settled(9)),
        ],
        [facts.received(facts.settled(1, known=30, outcomes=facts.outcomes(2, 1, 3, 4), technique=None))],
        [predicted(1, "m1"), predicted(1, "m-two", shadow=True), predicted(2, "m1"), predicted(4, "m1")],
    ]  # fmt: skip


@pytest.fixture(scope="session")
def hand_made(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's URL of a database with hand-made events."""
    with own_database(postgres) as url:
        loader = Loader(facts.StillClock(), Metrics())
        with psycopg.connect(url) as connection:
            for batch in hand_made_records():
                loader.handle(batch, connection)
                connection.commit()
            connection.execute(DEAD_LETTER.encode())
        yield url


@pytest.fixture(scope="session")
def hr(hand_made: str) -> Iterator[Headrace]:
    with connect(hand_made) as client:
        yield client


@pytest.fixture
def sql_rows(hand_made: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> SqlRows:
    """The rows that `headrace sql --json` prints for a statement."""
    return sql_of(hand_made, monkeypatch, capfd)


def sql_of(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> SqlRows:
    password = unquote(urlsplit(url).password or "")
    monkeypatch.setenv("PGPASSWORD", password)
    bare = url.replace(f":{urlsplit(url).password}@", "@")

    def rows(statement: str) -> list[dict[str, Any]]:
        capfd.readouterr()
        assert command(["sql", statement, "--json", "--database", bare]) == 0
        answer: dict[str, Any] = json.loads(capfd.readouterr().out)
        return list(answer["rows"])

    return rows


@contextmanager
def client_of(url: str) -> Iterator[Headrace]:
    with connect(url) as client:
        yield client
