"""Changes of a model's state, over real HTTP, under the service's own database role."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from services.predictor.registry import state_file
from services.predictor.registry.model_files import WEIGHTS
from tests.services.predictor.api.promotions import promote
from tests.services.predictor.model_requests import BAD
from tests.services.predictor.settled_rows import BLUNT, TRUE, settle
from tests.services.predictor.small_models import save_model
from tests.shared.runtime.api.admin_apps import assert_problem

Database = psycopg.Connection[Any]


def test_an_unknown_model_is_not_found(client: httpx2.Client, models: Path) -> None:
    for step in ("shadow", "retire", "promote", "delete"):
        assert_problem(client.post(f"/models/20310430-00000000/{step}"), 404, "not-found")
    assert_problem(client.get("/models/20310430-00000000"), 404, "not-found")
    assert_problem(client.post("/models/..%2f..%2fx/shadow"), 404, "not-found")
    assert_problem(client.post("/models/nonsense/shadow"), 422, "invalid-input")


def test_a_model_becomes_a_shadow_is_retired_and_deleted(client: httpx2.Client, models: Path) -> None:
    version = save_model(models)

    for step, before, state in [
        ("shadow", "candidate", "shadow"),
        ("shadow", "shadow", "shadow"),
        ("retire", "shadow", "retired"),
        ("shadow", "retired", "shadow"),
        ("retire", "shadow", "retired"),
        ("delete", "retired", None),
    ]:
        body = client.post(f"/models/{version}/{step}").json()
        assert (body["before"], body["state"]) == (before, state)

    assert client.get("/models").json() == []


def test_the_first_model_goes_live_if_it_beats_the_base_rate(client: httpx2.Client, models: Path) -> None:
    good, bad = save_model(models, 1), save_model(models, 2, metrics=BAD)

    refusal = assert_problem(client.post(f"/models/{bad}/promote"), 409, "conflict")
    body = promote(client, good)

    assert "not below the base rate's" in refusal
    assert (body["state"], body["live"], body["was_live"], body["gate"]["passed"]) == ("live", good, None, True)


def test_a_better_shadow_goes_live_and_the_live_one_is_retired(
    client: httpx2.Client, models: Path, database: Database
) -> None:
    live, better = save_model(models, 1), save_model(models, 2)
    promote(client, live)
    client.post(f"/models/{better}/shadow")
    settle(database, {live: BLUNT, better: TRUE})

    body = promote(client, better)

    assert (body["live"], body["was_live"]) == (better, live)
    assert body["gate"]["figures"]["events"] == 300
    assert body["gate"]["figures"]["difference_at_most"] < 0
    assert client.get(f"/models/{live}").json()["state"] == "retired"
    assert client.get(f"/models/{better}").json()["history"][-1]["gate"]["source"] == "stored predictions"


def test_a_worse_shadow_is_refused_with_the_figures(client: httpx2.Client, models: Path, database: Database) -> None:
    live, worse = save_model(models, 1), save_model(models, 2)
    promote(client, live)
    settle(database, {live: TRUE, worse: BLUNT})

    refusal = assert_problem(client.post(f"/models/{worse}/promote"), 409, "conflict")

    assert "is not better with confidence" in refusal
    assert "300 settled events" in refusal
    assert state_file.read(models).live == live
    [row] = database.execute(
        "SELECT outcome FROM ops.audit WHERE outcome LIKE 'refused (409)%' ORDER BY id DESC LIMIT 1"
    ).fetchall()
    assert "300 settled events" in str(row[0])


def test_with_too_few_predictions_the_promotion_becomes_an_operation(
    client: httpx2.Client, models: Path, database: Database
) -> None:
    live, new = save_model(models, 1), save_model(models, 2)
    promote(client, live)
    settle(database, {live: BLUNT, new: TRUE}, days=5)

    answer = client.post(f"/models/{new}/promote", json={"reason": "it is May"})

    assert answer.status_code == 202
    operation = answer.json()
    assert (operation["kind"], operation["target"]) == ("promotion", {"version": new, "reason": "it is May"})
    assert answer.headers["location"] == f"/v1/operations/{operation['id']}"
    assert state_file.read(models).live == live


def test_a_forced_promotion_needs_a_reason_and_records_it(
    client: httpx2.Client, models: Path, database: Database
) -> None:
    live, worse = save_model(models, 1), save_model(models, 2, metrics=BAD)
    promote(client, live)

    assert_problem(client.post(f"/models/{worse}/promote", json={"force": True}), 422, "invalid-input")
    body = promote(client, worse, force=True, reason="the live one reads a field that is gone")

    assert (body["live"], body["gate"]) == (worse, None)
    assert client.get(f"/models/{worse}").json()["history"][-1]["why"] == "the live one reads a field that is gone"
    [row] = database.execute("SELECT before, after FROM ops.audit WHERE action = 'promote' ORDER BY id DESC LIMIT 1")
    assert row == ({"state": "candidate", "live": live}, {"state": "live", "live": worse})


def test_a_retired_model_is_not_promoted(client: httpx2.Client, models: Path) -> None:
    version = save_model(models)
    client.post(f"/models/{version}/retire")

    assert "is retired" in assert_problem(client.post(f"/models/{version}/promote"), 409, "conflict")


def test_a_live_model_is_neither_retired_nor_deleted_nor_made_a_shadow(client: httpx2.Client, models: Path) -> None:
    version = save_model(models)
    promote(client, version)

    for step in ("shadow", "retire", "delete"):
        assert_problem(client.post(f"/models/{version}/{step}"), 409, "conflict")
    assert promote(client, version)["state"] == "live"


def test_a_repeated_rollback_request_is_executed_once(client: httpx2.Client, models: Path) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first, second, third = (save_model(models, seed) for seed in (1, 2, 3))
    for version in (first, second, third):
        promote(client, version, force=True, reason="a test")

    body = client.post("/models/rollback", headers=headers, json={"reason": "it is odd"}).json()
    again = client.post("/models/rollback", headers=headers, json={"reason": "it is odd"})
    further = client.post("/models/rollback").json()

    assert (body["live"], body["was_live"]) == (second, third)
    assert (again.json(), again.headers["idempotency-replayed"]) == (body, "true")
    assert (further["live"], further["was_live"]) == (first, second)
    assert "no model to go back to" in assert_problem(client.post("/models/rollback"), 409, "conflict")


def test_a_request_whose_response_was_not_stored_is_not_executed_twice(
    client: httpx2.Client, models: Path, database: Database
) -> None:
    """Files and database are two commits: the process may die between them."""
    headers = {"Idempotency-Key": str(uuid4())}
    for seed in (1, 2, 3):
        promote(client, save_model(models, seed), force=True, reason="a test")
    body = client.post("/models/rollback", headers=headers).json()
    database.execute("DELETE FROM ops.idempotency")

    again = client.post("/models/rollback", headers=headers).json()

    assert again["live"] == body["live"] == state_file.read(models).live


def test_a_damaged_model_does_not_go_live(client: httpx2.Client, models: Path) -> None:
    version = save_model(models)
    (models / version / WEIGHTS).write_bytes(b"")

    assert "train again" in assert_problem(client.post(f"/models/{version}/promote"), 422, "invalid-input")
    assert not state_file.has_live(models)
