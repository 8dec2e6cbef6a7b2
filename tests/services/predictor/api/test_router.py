"""Predictions of an event, over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import psycopg

from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader import facts
from tests.shared.runtime.api.admin_apps import assert_problem

Database = psycopg.Connection[Any]


def test_the_predictions_of_an_event_are_returned(client: httpx2.Client, database: Database) -> None:
    database.execute("SET timezone = 'UTC'")
    with database.transaction():
        Loader(facts.StillClock(), Metrics()).handle([facts.received(facts.listed())], database)
    database.execute(
        "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
        " probabilities) SELECT gen_random_uuid(), id, 'card', '20310501-0a1b2c3d', now(), false, 'f',"
        ' \'[{"head": "result", "slot": 1, "label": "win", "probability": 0.5}]\' FROM facts.events'
    )

    predictions = client.get(f"/predictions/{facts.key()}").json()

    assert [(each["slot"], each["class"], each["probability"]) for each in predictions] == [(1, "win", 0.5)]
    assert_problem(client.get("/predictions/boatrace:2031-05-04:01:01"), 404, "not-found")
