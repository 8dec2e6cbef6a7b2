"""`headrace explain` against an HTTP server that answers like the predictor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import command
from tests.headrace.remote.scripted_service import ScriptedService, scripted_service

KEY = "boatrace:2026-01-31:07:04"
START = {"weight": 0.31, "settled_at": "2026-01-30T06:00:00Z", "venue": 7, "course": 1, "event_key": f"{KEY[:-1]}9"}
BODY: dict[str, Any] = {
    "event_key": KEY,
    "state": "observation",
    "model_version": "20260131-0a1b2c3d",
    "as_of": "2026-01-31T01:15:00Z",
    "slots": [
        {
            "slot": 1,
            "entity_key": "boatrace:4444",
            "win": 0.5512,
            "win_without": {"card": 0.5, "observation": 0.61, "history": 0.482},
            "past_starts": [START],
        },
        {"slot": 2, "entity_key": None, "win": 0.4488, "win_without": {}, "past_starts": []},
    ],
}


@pytest.fixture
def predictor() -> Iterator[ScriptedService]:
    with scripted_service() as server:
        server.answers = [(200, BODY)]
        yield server


def explain(predictor: ScriptedService, folder: Path, *more: str) -> int:
    token = folder / "token"
    token.write_text("secret")
    return command(["explain", KEY, "--url", predictor.url, "--token-file", str(token), *more])


def test_each_entry_is_a_row(predictor: ScriptedService, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = explain(predictor, tmp_path, "--state", "observation")

    lines = capfd.readouterr().out.splitlines()
    assert status == 0
    assert [request.path for request in predictor.requests] == [f"/v1/predictions/{KEY}/explanation?state=observation"]
    assert lines[2].split() == ["1", "boatrace:4444", "0.551", "0.500", "0.610", "0.482", f"{KEY[:-1]}9", "0.310"]
    assert lines[3].split() == ["2", "0.449", "none"]
    assert lines[-1] == "model 20260131-0a1b2c3d, from the observation, as of 2026-01-31 01:15:00 UTC"
    assert max(map(len, lines)) <= 100


def test_json_is_the_answer_of_the_service(
    predictor: ScriptedService, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert explain(predictor, tmp_path, "--output", "json") == 0

    assert json.loads(capfd.readouterr().out) == BODY
