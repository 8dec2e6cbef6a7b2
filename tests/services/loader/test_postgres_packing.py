"""Predictions of an earlier version are packed in batches."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from services.loader.postgres_packing import FIRST, PackedBatch, pack_batch
from tests.services.loader.conftest import Load
from tests.services.loader.facts import key, listed

INSERT = """
INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash, probabilities)
SELECT %s, id, 'card', 'm', now(), false, 'h', %s::jsonb FROM facts.events WHERE event_key = %s
"""
# As a version before the columns wrote them.
UNPACK = "UPDATE facts.predictions SET layout = NULL, layout_values = NULL"
PACKED = "SELECT record_id, layout, layout_values FROM facts.predictions ORDER BY record_id"
COUNT = 7


@pytest.fixture
def predictions(connection: psycopg.Connection[Any], load: Load) -> psycopg.Connection[Any]:
    """COUNT predictions with one class more each, from none on."""
    load(listed(1))
    for number in range(COUNT):
        classes = [
            {"head": "result", "slot": slot, "label": "win", "probability": 1 / (slot + number)}
            for slot in range(1, number + 1)
        ]
        connection.execute(INSERT, (UUID(int=number + 1), json.dumps(classes), key(1)))
    return connection


def pack(connection: psycopg.Connection[Any], limit: int) -> list[int]:
    """The sizes of all batches."""
    batches = [PackedBatch(0, FIRST)]
    while (last := batches[-1].last) is not None:
        batches.append(pack_batch(connection, last, limit))
    return [each.rows for each in batches[1:]]


def test_old_predictions_get_the_form_that_new_ones_have(predictions: psycopg.Connection[Any]) -> None:
    expected = predictions.execute(PACKED).fetchall()
    predictions.execute(UNPACK)

    assert pack(predictions, limit=2) == [2, 2, 2, 0]

    assert predictions.execute(PACKED).fetchall() == expected
    assert [layout is None for _, layout, _ in expected] == [True] + [False] * (COUNT - 1)


def test_a_run_that_was_stopped_continues_with_what_is_left(predictions: psycopg.Connection[Any]) -> None:
    predictions.execute(UNPACK)
    pack_batch(predictions, FIRST, 4)

    assert pack(predictions, limit=100) == [2, 0]
    assert pack(predictions, limit=100) == [0]
