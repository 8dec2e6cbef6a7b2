"""The predictor's endpoints: over real HTTP, under the service's own database role, on a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.loader.load import Loader
from services.predictor.api.router import router
from services.predictor.registry import model_files, state_file
from services.predictor.registry.model_files import MODEL, WEIGHTS
from services.predictor.settings import PredictorSettings
from shared.runtime.metrics import Metrics
from tests.services.endpoints import served, settings_of
from tests.services.loader import facts
from tests.services.predictor.settled import BLUNT, TRUE, settle
from tests.services.predictor.shelf import png, shelved
from tests.services.predictor.shelf_orders import BAD
from tests.shared.runtime.api.desks import assert_problem, bearing, given_token

Database = psycopg.Connection[Any]


@pytest.fixture
def settings(postgres: EmbeddedPostgres, shared_url: str, database: Database, tmp_path: Path) -> PredictorSettings:
    return settings_of(PredictorSettings, postgres, shared_url, tmp_path)


@pytest.fixture
def models(settings: PredictorSettings) -> Path:
    return settings.models_dir


@pytest.fixture
def client(settings: PredictorSettings, models: Path) -> Iterator[httpx.Client]:
    with served(settings, lambda desk: router(desk, models)) as client:
        yield client


def promoted(client: httpx.Client, version: str, **wish: Any) -> Any:
    answer = client.post(f"/models/{version}/promote", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_was_predicted_of_an_event_is_shown(client: httpx.Client, database: Database) -> None:
    database.execute("SET timezone = 'UTC'")
    with database.transaction():
        Loader(facts.StillClock(), Metrics()).handle([facts.received(facts.listed())], database)
    database.execute(
        "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
        " probabilities) SELECT gen_random_uuid(), id, 'card', '20310501-0a1b2c3d', now(), false, 'f',"
        ' \'[{"head": "result", "slot": 1, "label": "win", "probability": 0.5}]\' FROM facts.events'
    )

    predicted = client.get(f"/predictions/{facts.key()}").json()

    assert [(each["slot"], each["class"], each["probability"]) for each in predicted] == [(1, "win", 0.5)]
    assert_problem(client.get("/predictions/boatrace:2031-05-04:01:01"), 404, "not-found")


def test_models_are_listed_with_what_they_are(client: httpx.Client, models: Path) -> None:
    older, newer = shelved(models, 1, last_day="2031-03-31"), shelved(models, 2)
    promoted(client, older)

    shown = client.get("/models").json()

    assert [(each["version"], each["state"], each["last_day"], each["seed"]) for each in shown] == [
        (newer, "candidate", "2031-04-30", 2), (older, "live", "2031-03-31", 1),
    ]  # fmt: skip
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
        (None, "candidate", None), ("candidate", "shadow", "a look"),
    ]  # fmt: skip
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


def test_a_model_that_is_not_there_is_not_found(client: httpx.Client, models: Path) -> None:
    for step in ("shadow", "retire", "promote", "delete"):
        assert_problem(client.post(f"/models/20310430-00000000/{step}"), 404, "not-found")
    assert_problem(client.get("/models/20310430-00000000"), 404, "not-found")
    assert_problem(client.post("/models/..%2f..%2fx/shadow"), 404, "not-found")
    assert_problem(client.post("/models/nonsense/shadow"), 422, "invalid-input")


def test_a_shadow_is_made_retired_and_deleted(client: httpx.Client, models: Path) -> None:
    version = shelved(models)

    for step, before, state in [
        ("shadow", "candidate", "shadow"), ("shadow", "shadow", "shadow"), ("retire", "shadow", "retired"),
        ("shadow", "retired", "shadow"), ("retire", "shadow", "retired"), ("delete", "retired", None),
    ]:  # fmt: skip
        said = client.post(f"/models/{version}/{step}").json()
        assert (said["before"], said["state"]) == (before, state)

    assert client.get("/models").json() == []


def test_the_first_model_goes_live_if_it_beats_the_base_rate(client: httpx.Client, models: Path) -> None:
    good, bad = shelved(models, 1), shelved(models, 2, metrics=BAD)

    refusal = assert_problem(client.post(f"/models/{bad}/promote"), 409, "conflict")
    said = promoted(client, good)

    assert "not below the base rate's" in refusal
    assert (said["state"], said["live"], said["was_live"], said["gate"]["passed"]) == ("live", good, None, True)


def test_a_better_shadow_goes_live_and_the_live_one_is_retired(
    client: httpx.Client, models: Path, database: Database
) -> None:
    live, better = shelved(models, 1), shelved(models, 2)
    promoted(client, live)
    client.post(f"/models/{better}/shadow")
    settle(database, {live: BLUNT, better: TRUE})

    said = promoted(client, better)

    assert (said["live"], said["was_live"]) == (better, live)
    assert said["gate"]["figures"]["events"] == 300
    assert said["gate"]["figures"]["difference_at_most"] < 0
    assert client.get(f"/models/{live}").json()["state"] == "retired"
    assert client.get(f"/models/{better}").json()["history"][-1]["gate"]["source"] == "stored predictions"


def test_a_worse_shadow_is_refused_with_the_figures(client: httpx.Client, models: Path, database: Database) -> None:
    live, worse = shelved(models, 1), shelved(models, 2)
    promoted(client, live)
    settle(database, {live: TRUE, worse: BLUNT})

    refusal = assert_problem(client.post(f"/models/{worse}/promote"), 409, "conflict")

    assert "is not better with confidence" in refusal
    assert "300 settled events" in refusal
    assert state_file.read(models).live == live
    [line] = database.execute(
        "SELECT outcome FROM ops.audit WHERE outcome LIKE 'refused (409)%' ORDER BY id DESC LIMIT 1"
    ).fetchall()
    assert "300 settled events" in str(line[0])


def test_where_too_little_was_predicted_an_operation_decides(
    client: httpx.Client, models: Path, database: Database
) -> None:
    live, new = shelved(models, 1), shelved(models, 2)
    promoted(client, live)
    settle(database, {live: BLUNT, new: TRUE}, days=5)

    answer = client.post(f"/models/{new}/promote", json={"reason": "it is May"})

    assert answer.status_code == 202
    operation = answer.json()
    assert (operation["kind"], operation["target"]) == ("promotion", {"version": new, "reason": "it is May"})
    assert answer.headers["location"] == f"/v1/operations/{operation['id']}"
    assert state_file.read(models).live == live


def test_force_wants_a_reason_which_is_kept(client: httpx.Client, models: Path, database: Database) -> None:
    live, worse = shelved(models, 1), shelved(models, 2, metrics=BAD)
    promoted(client, live)

    assert_problem(client.post(f"/models/{worse}/promote", json={"force": True}), 422, "invalid-input")
    said = promoted(client, worse, force=True, reason="the live one reads a field that is gone")

    assert (said["live"], said["gate"]) == (worse, None)
    assert client.get(f"/models/{worse}").json()["history"][-1]["why"] == "the live one reads a field that is gone"
    [line] = database.execute("SELECT before, after FROM ops.audit WHERE action = 'promote' ORDER BY id DESC LIMIT 1")
    assert line == ({"state": "candidate", "live": live}, {"state": "live", "live": worse})


def test_a_retired_model_is_not_promoted(client: httpx.Client, models: Path) -> None:
    version = shelved(models)
    client.post(f"/models/{version}/retire")

    assert "is retired" in assert_problem(client.post(f"/models/{version}/promote"), 409, "conflict")


def test_a_live_model_is_neither_retired_nor_deleted_nor_made_a_shadow(client: httpx.Client, models: Path) -> None:
    version = shelved(models)
    promoted(client, version)

    for step in ("shadow", "retire", "delete"):
        assert_problem(client.post(f"/models/{version}/{step}"), 409, "conflict")
    assert promoted(client, version)["state"] == "live"


def test_one_call_rolls_back_and_the_same_call_again_does_not_go_further(client: httpx.Client, models: Path) -> None:
    once = {"Idempotency-Key": str(uuid4())}
    first, second, third = (shelved(models, seed) for seed in (1, 2, 3))
    for version in (first, second, third):
        promoted(client, version, force=True, reason="a test")

    said = client.post("/models/rollback", headers=once, json={"reason": "it is odd"}).json()
    again = client.post("/models/rollback", headers=once, json={"reason": "it is odd"})
    further = client.post("/models/rollback").json()

    assert (said["live"], said["was_live"]) == (second, third)
    assert (again.json(), again.headers["idempotency-replayed"]) == (said, "true")
    assert (further["live"], further["was_live"]) == (first, second)
    assert "no model to go back to" in assert_problem(client.post("/models/rollback"), 409, "conflict")


def test_a_step_whose_answer_was_never_written_down_is_not_done_twice(
    client: httpx.Client, models: Path, database: Database
) -> None:
    """Files and database are two commits: the process may die between them."""
    once = {"Idempotency-Key": str(uuid4())}
    for seed in (1, 2, 3):
        promoted(client, shelved(models, seed), force=True, reason="a test")
    said = client.post("/models/rollback", headers=once).json()
    database.execute("DELETE FROM ops.idempotency")

    again = client.post("/models/rollback", headers=once).json()

    assert again["live"] == said["live"] == state_file.read(models).live


def test_a_model_that_is_damaged_does_not_go_live(client: httpx.Client, models: Path) -> None:
    version = shelved(models)
    (models / version / WEIGHTS).write_bytes(b"")

    assert "train again" in assert_problem(client.post(f"/models/{version}/promote"), 422, "invalid-input")
    assert not state_file.has_live(models)


def test_reading_needs_less_than_changing(client: httpx.Client, models: Path, database: Database) -> None:
    version, reader = shelved(models), bearing(given_token(database, "viewer", "read"))

    assert client.get("/models", headers=reader).status_code == 200
    assert_problem(client.post(f"/models/{version}/shadow", headers=reader), 403, "forbidden")
    assert state_file.read(models).state_of(version) == "candidate"


def test_a_training_is_an_operation_and_one_at_a_time(client: httpx.Client) -> None:
    wish = {"seed": 3, "until": "2031-04-30", "validate_days": 31, "promote": False}

    ordered = client.post("/trainings", json=wish)

    assert ordered.status_code == 202
    assert ordered.json()["target"] == wish
    assert "is a training that is not over" in assert_problem(client.post("/trainings"), 409, "conflict")
    assert [each["id"] for each in client.get("/trainings").json()["operations"]] == [ordered.json()["id"]]


@pytest.mark.parametrize("wish", [{"seed": -1}, {"until": "soon"}, {"validate_days": 0}, {"epochs": 3}])
def test_a_training_that_makes_no_sense_is_refused(client: httpx.Client, wish: dict[str, Any]) -> None:
    assert_problem(client.post("/trainings", json=wish), 422, "invalid-input")


def test_versions_that_are_none_are_not_listed(client: httpx.Client, models: Path) -> None:
    version = shelved(models)
    (models / "half").mkdir()
    (models / f"{model_files._MAKING}{version}").mkdir()

    assert [each["version"] for each in client.get("/models").json()] == [version]
