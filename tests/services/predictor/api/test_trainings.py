"""Trainings over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.shared.runtime.api.desks import assert_problem


def test_a_training_is_an_operation_and_one_at_a_time(client: httpx.Client) -> None:
    wish = {"seed": 3, "until": "2031-04-30", "validate_days": 31, "promote": False}

    ordered = client.post("/trainings", json=wish)

    assert ordered.status_code == 202
    assert ordered.json()["target"] == wish
    assert "is a training that has not finished" in assert_problem(client.post("/trainings"), 409, "conflict")
    assert [each["id"] for each in client.get("/trainings").json()["operations"]] == [ordered.json()["id"]]


@pytest.mark.parametrize("wish", [{"seed": -1}, {"until": "soon"}, {"validate_days": 0}, {"epochs": 3}])
def test_a_training_that_makes_no_sense_is_refused(client: httpx.Client, wish: dict[str, Any]) -> None:
    assert_problem(client.post("/trainings", json=wish), 422, "invalid-input")
