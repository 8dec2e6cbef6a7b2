"""Packed predictions have the rows of the view, whatever classes a prediction has."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from headrace.frames import connect
from headrace.frames.catalogue import PREDICTIONS
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.headrace.frames.rows import rows_of, statement_for
from tests.services.loader.facts import StillClock, key, listed, received

Classes = list[dict[str, Any]]


def one(head: str, slot: int | None, label: str, probability: float | None) -> dict[str, Any]:
    return {"head": head, "slot": slot, "label": label, "probability": probability}


PREDICTED: list[Classes] = [
    [],
    [one("result", 2, "win", 0.1), one("result", 1, "win", 0.9)],
    [one("trend", None, "mid", 1e-300), {"head": "trend", "label": "low", "probability": None}],
    [one("top3", 32767, 'it\'s "a" label \\ ü }', 0.30000000000000004), one("result", 1, "win", 5e-324)],
    [one("behaviour", 1, label, 1 / 3) for label in ("late", "early", "Normal")],
]
INSERT = """
INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash, probabilities)
SELECT gen_random_uuid(), id, %s, %s, now(), false, 'h', %s::jsonb FROM facts.events WHERE event_key = %s
"""
# As a version before the columns wrote them.
UNPACK = "UPDATE facts.predictions SET layout = NULL, layout_values = NULL"


@pytest.fixture
def predictions(database: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    with database.transaction():
        Loader(StillClock(), Metrics()).handle([received(listed(1)), received(listed(2))], database)
    for number, classes in enumerate(PREDICTED):
        for state, event in (("card", key(1)), ("observation", key(2))):
            database.execute(INSERT, (state, f"m{number}", json.dumps(classes), event))
    return database


@pytest.mark.parametrize("stored_as", ["packed", "not packed"])
def test_the_rows_are_those_of_the_view(
    predictions: psycopg.Connection[Any], database_url: str, stored_as: str
) -> None:
    if stored_as == "not packed":
        predictions.execute(UNPACK)
    with connect(database_url) as hr:
        frame = hr.predictions()
        expected = hr.sql(statement_for(PREDICTIONS))

        assert len(frame) == 2 * sum(map(len, PREDICTED))
        assert rows_of(frame) == rows_of(expected)
        assert rows_of(hr.predictions(head="trend")) == [row for row in rows_of(frame) if row["head"] == "trend"]


def test_a_change_of_the_probabilities_changes_the_packed_form(
    predictions: psycopg.Connection[Any], database_url: str
) -> None:
    predictions.execute("UPDATE facts.predictions SET probabilities = %s::jsonb", (json.dumps(PREDICTED[1]),))

    with connect(database_url) as hr:
        assert sorted(hr.predictions().probability.unique()) == [0.1, 0.9]


def test_predictions_without_classes_give_an_empty_frame(
    database_url: str, predictions: psycopg.Connection[Any]
) -> None:
    predictions.execute("UPDATE facts.predictions SET probabilities = '[]'")

    with connect(database_url) as hr:
        assert hr.predictions().empty
        assert hr.predictions().dtypes.astype(str).tolist() == [column.dtype for column in PREDICTIONS.columns]
