from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import psycopg

from headrace.embedded import EmbeddedPostgres
from services.loader.load import Loader
from services.predictor.api import router
from services.predictor.settings import PredictorSettings
from shared.runtime.metrics import Metrics
from tests.services.endpoints import served, settings_of
from tests.services.loader import facts
from tests.shared.runtime.api.desks import assert_problem


def test_models_and_predictions_are_shown(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    settings = settings_of(PredictorSettings, postgres, database_url, tmp_path)
    models = settings.models_dir
    for version in ("20310501-0a1b2c3d", "20310502-0a1b2c3d"):
        (models / version).mkdir(parents=True)
        (models / version / "model.json").write_bytes(orjson.dumps({"version": version, "description": {"events": 7}}))
    (models / "half").mkdir()
    (models / "half" / "model.json").write_text("{")
    (models / "LIVE").write_text("20310501-0a1b2c3d\n")
    database.execute("SET timezone = 'UTC'")
    with database.transaction():
        Loader(facts.StillClock(), Metrics()).handle([facts.received(facts.listed())], database)
    database.execute(
        "INSERT INTO facts.predictions SELECT gen_random_uuid(), id, 'card', '20310501-0a1b2c3d', now(), false,"
        " 'f',"
        ' \'[{"head": "result", "slot": 1, "label": "win", "probability": 0.5}]\' FROM facts.events'
    )

    with served(settings, lambda desk: router(desk, models)) as client:
        shown = client.get("/models").json()
        predicted = client.get(f"/predictions/{facts.key()}").json()

        assert [(each["version"], each["live"]) for each in shown] == [
            ("20310502-0a1b2c3d", False), ("20310501-0a1b2c3d", True),
        ]  # fmt: skip
        assert shown[0]["description"] == {"events": 7}
        assert [(each["slot"], each["class"], each["probability"]) for each in predicted] == [(1, "win", 0.5)]
        assert_problem(client.get("/predictions/boatrace:2031-05-04:01:01"), 404, "not-found")
