"""Descriptions of small models and requests to change their state, without importing torch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.predictor.registry.states import ChangeRequest

GOOD = {"card_result": 1.21, "card_result_base": 1.36, "observation_result": 1.15, "observation_result_base": 1.36}
BAD = GOOD | {"card_result": 1.4}


def order(request: str | None = None, why: str | None = None) -> ChangeRequest:
    return ChangeRequest(at=datetime(2031, 5, 1, tzinfo=UTC), who="a test", why=why, request=request)


def label_of(seed: int, last_day: str, metrics: dict[str, float] | None = None) -> dict[str, Any]:
    return {
        "first_day": "2031-01-01",
        "last_day": last_day,
        "events": 4000,
        "seed": seed,
        "metrics": GOOD if metrics is None else metrics,
    }
