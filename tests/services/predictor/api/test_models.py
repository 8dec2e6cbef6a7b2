"""Reading the registry over real HTTP, under the service's own database role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from services.predictor.registry import model_files, state_file
from services.predictor.registry.model_files import MODEL
from tests.services.predictor.api.promoting import promoted
from tests.services.predictor.shelf import png, shelved
from tests.shared.runtime.api.desks import assert_problem, bearing, given_token

Database = psycopg.Connection[Any]


def test_models_are_listed_with_what_they_are(client: httpx.Client, models: Path) -> None:
    older, newer = shelved(models, 1, last_day="2031-03-31"), shelved(models, 2)
    promoted(client, older)

    shown = client.get("/models").json()

    assert [(each["version"], each["state"], each["last_day"], each["seed"]) for each in shown] == [
        (newer, "candidate", "2031-04-30", 2),
        (older, "live", "2031-03-31", 1),
    ]
    assert shown[0]["metrics"]["observation_result"] == 1.15
    assert shown[0]["problem"] is None


def test_a_damaged_model_is_listed_with_what_is_wrong(client: httpx.Client, models: Path) -> None:
    version = shelved(models)
    (models / version / MODEL).write_text("{")

    [shown] = client.get("/models").json()

    assert (shown["version"], shown["metrics"]) == (version, {})
    assert "is damaged" in shown["problem"]
    assert client.get(f"/models/{version}").json()["description"] == {}


def test_one_model_is_shown_whole(client: httpx.Client, models: Path) -> None:
    version = shelved(models, pictures={"reliability": png()})
    client.post(f"/models/{version}/shadow", json={"reason": "a look"})

    shown = client.get(f"/models/{version}").json()

    assert shown["description"]["events"] == 4000
    assert shown["pictures"] == ["reliability"]
    assert [(each["before"], each["after"], each["why"]) for each in shown["history"]] == [
        (None, "candidate", None),
        ("candidate", "shadow", "a look"),
    ]
    assert shown["history"][-1]["who"] == "file token"


def test_a_picture_is_a_picture(client: httpx.Client, models: Path) -> None:
    version = shelved(models, pictures={"reliability": png()})

    answer = client.get(f"/models/{version}/pictures/reliability.png")

    assert (answer.headers["content-type"], answer.content) == ("image/png", png())
    assert "it has: reliability" in assert_problem(
        client.get(f"/models/{version}/pictures/curve.png"), 404, "not-found"
    )


@pytest.mark.parametrize("path", ["model", "weights", "..%2Fmodel", "%2e%2e"])
def test_nothing_but_pictures_is_given_out(client: httpx.Client, models: Path, path: str) -> None:
    version = shelved(models)

    assert client.get(f"/models/{version}/pictures/{path}.png").status_code in {404, 422}


def test_reading_needs_less_than_changing(client: httpx.Client, models: Path, database: Database) -> None:
    version, reader = shelved(models), bearing(given_token(database, "viewer", "read"))

    assert client.get("/models", headers=reader).status_code == 200
    assert_problem(client.post(f"/models/{version}/shadow", headers=reader), 403, "forbidden")
    assert state_file.read(models).state_of(version) == "candidate"


def test_versions_that_are_none_are_not_listed(client: httpx.Client, models: Path) -> None:
    version = shelved(models)
    (models / "half").mkdir()
    (models / f"{model_files._TEMPORARY}{version}").mkdir()

    assert [each["version"] for each in client.get("/models").json()] == [version]
