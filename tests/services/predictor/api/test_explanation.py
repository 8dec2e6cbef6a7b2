"""Explanations over real HTTP, under the service's own database role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.api.explanation import router
from services.predictor.data.events import State
from services.predictor.serving.explanation import Explanation, PastStart, SlotExplanation
from services.predictor.settings import PredictorSettings
from shared.errors import TransientError
from tests.services.endpoints import served, settings_of
from tests.services.predictor.season import Event, season, store
from tests.shared.runtime.api.admin_apps import assert_problem

VERSION = "20300301-00000001"


@pytest.fixture
def past(database: psycopg.Connection[Any]) -> Event:
    event = season(1, 1, seed=3)[0]
    store(database, [event])
    return event


@pytest.fixture
def client(postgres: EmbeddedPostgres, shared_url: str, past: Event, tmp_path: Path) -> Iterator[httpx2.Client]:
    def explain(event_key: str, state: State) -> Explanation | None:
        if event_key == "busy":
            raise TransientError("the predictor is busy with a batch: try again in a few seconds")
        if event_key != "known":
            return None
        starts = (
            PastStart(0.75, past.settled_at.timestamp() * 1e6, 1, 2),
            PastStart(0.25, past.settled_at.timestamp() * 1e6 - 1e9, 9, 3),
        )
        slot = SlotExplanation(1, past.entities[0], 0.5, {"card": 0.4, "observation": 0.5, "history": 0.3}, starts)
        return Explanation("known", state, VERSION, past.listed_at.timestamp() * 1e6, (slot,))

    settings = settings_of(PredictorSettings, postgres, shared_url, tmp_path)
    with served(settings, lambda context: router(context, explain)) as client:
        yield client


def test_an_explanation_lists_the_past_starts_with_their_weights(client: httpx2.Client, past: Event) -> None:
    answer = client.get("/predictions/known/explanation", params={"state": "observation"})

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["event_key"], body["state"], body["model_version"]) == ("known", "observation", VERSION)
    assert datetime.fromisoformat(body["as_of"]) == past.listed_at
    (slot,) = body["slots"]
    assert (slot["win"], slot["win_without"]["history"]) == (0.5, 0.3)
    assert [(start["weight"], start["event_key"]) for start in slot["past_starts"]] == [(0.75, past.key), (0.25, None)]


def test_an_unknown_event_is_not_found_and_a_busy_predictor_is_unavailable(client: httpx2.Client) -> None:
    assert_problem(client.get("/predictions/unknown/explanation"), 404, "not-found")
    assert_problem(client.get("/predictions/busy/explanation"), 503, "unavailable")
    assert_problem(client.get("/predictions/known/explanation", params={"state": "later"}), 422, "invalid-input")
