"""Trainings over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.shared.runtime.api.admin_apps import assert_problem


def test_a_training_is_an_operation_and_only_one_may_be_open(client: httpx2.Client) -> None:
    body = {"seed": 3, "until": "2031-04-30", "validate_days": 31, "promote": False}

    response = client.post("/trainings", json=body)

    assert response.status_code == 202
    assert response.json()["target"] == body
    assert "is a training that has not finished" in assert_problem(client.post("/trainings"), 409, "conflict")
    assert [each["id"] for each in client.get("/trainings").json()["operations"]] == [response.json()["id"]]


@pytest.mark.parametrize("body", [{"seed": -1}, {"until": "soon"}, {"validate_days": 0}, {"epochs": 3}])
def test_an_invalid_training_request_is_refused(client: httpx2.Client, body: dict[str, Any]) -> None:
    assert_problem(client.post("/trainings", json=body), 422, "invalid-input")
