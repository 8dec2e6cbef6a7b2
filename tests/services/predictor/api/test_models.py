"""Reading the registry over real HTTP, under the service's own database role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from services.predictor.registry import model_files, state_file
from services.predictor.registry.model_files import MODEL
from tests.services.predictor.api.promotions import promote
from tests.services.predictor.small_models import png, save_model
from tests.shared.runtime.api.admin_apps import assert_problem, auth_headers, create_token

Database = psycopg.Connection[Any]


def test_models_are_listed_with_state_and_metrics(client: httpx2.Client, models: Path) -> None:
    older, newer = save_model(models, 1, last_day="2031-03-31"), save_model(models, 2)
    promote(client, older)

    listing = client.get("/models").json()

    assert [(each["version"], each["state"], each["last_day"], each["seed"]) for each in listing] == [
        (newer, "candidate", "2031-04-30", 2),
        (older, "live", "2031-03-31", 1),
    ]
    assert listing[0]["metrics"]["observation_result"] == 1.15
    assert listing[0]["problem"] is None


def test_a_damaged_model_is_listed_with_its_problem(client: httpx2.Client, models: Path) -> None:
    version = save_model(models)
    (models / version / MODEL).write_text("{")

    [model] = client.get("/models").json()

    assert (model["version"], model["metrics"]) == (version, {})
    assert "is damaged" in model["problem"]
    assert client.get(f"/models/{version}").json()["description"] == {}


def test_a_model_is_shown_with_description_pictures_and_history(client: httpx2.Client, models: Path) -> None:
    version = save_model(models, pictures={"reliability": png()})
    client.post(f"/models/{version}/shadow", json={"reason": "a look"})

    body = client.get(f"/models/{version}").json()

    assert body["description"]["events"] == 4000
    assert body["pictures"] == ["reliability"]
    assert [(each["before"], each["after"], each["why"]) for each in body["history"]] == [
        (None, "candidate", None),
        ("candidate", "shadow", "a look"),
    ]
    assert body["history"][-1]["who"] == "file token"


def test_a_picture_is_served_as_png(client: httpx2.Client, models: Path) -> None:
    version = save_model(models, pictures={"reliability": png()})

    answer = client.get(f"/models/{version}/pictures/reliability.png")

    assert (answer.headers["content-type"], answer.content) == ("image/png", png())
    assert "it has: reliability" in assert_problem(
        client.get(f"/models/{version}/pictures/curve.png"), 404, "not-found"
    )


@pytest.mark.parametrize("path", ["model", "weights", "..%2Fmodel", "%2e%2e"])
def test_only_pictures_are_served(client: httpx2.Client, models: Path, path: str) -> None:
    version = save_model(models)

    assert client.get(f"/models/{version}/pictures/{path}.png").status_code in {404, 422}


def test_a_read_token_may_read_and_not_change(client: httpx2.Client, models: Path, database: Database) -> None:
    version, reader = save_model(models), auth_headers(create_token(database, "viewer", "read"))

    assert client.get("/models", headers=reader).status_code == 200
    assert_problem(client.post(f"/models/{version}/shadow", headers=reader), 403, "forbidden")
    assert state_file.read(models).state_of(version) == "candidate"


def test_incomplete_directories_are_not_listed(client: httpx2.Client, models: Path) -> None:
    version = save_model(models)
    (models / "half").mkdir()
    (models / f"{model_files._TEMPORARY}{version}").mkdir()

    assert [each["version"] for each in client.get("/models").json()] == [version]
