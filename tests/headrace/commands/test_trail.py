"""`headrace trail`: a table that fits, and all values with --wide or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.database.access import Access

Headrace = Callable[..., tuple[int, str, str]]
OUTCOME = (
    "refused: the service does not read this topic; it reads raw-events and cleaner.retry, and writes clean-events"
)
REQUEST = "5f0c7e0e-9d3e-4f0b-8a55-9d7f6f1f2f3a"


@pytest.fixture(autouse=True)
def entry_id(access: Access) -> int:
    with access.connect() as connection:
        connection.execute("SELECT ops.create_audit_month('2026-03-02')")
        row = connection.execute(
            "INSERT INTO ops.audit (at, service, who, action, target, after, outcome, request_id) VALUES"
            " ('2026-03-02 19:20:31.25+09', 'cleaner', 'token:night-shift', 'pause', 'raw-events, cleaner.retry',"
            """ '{"desired": "paused"}', %s, %s) RETURNING id""",
            (OUTCOME, REQUEST),
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_the_trail_fits_100_columns_and_its_header_names_the_zone(headrace: Headrace, entry_id: int) -> None:
    code, out, _ = headrace("trail", "-n", "1")

    header, _, row = out.splitlines()
    assert (code, max(map(len, (header, row))) <= 100) == (0, True)
    assert header.split()[:3] == ["id", "at", "(UTC)"]
    assert row.startswith(f"{entry_id}  ")
    assert "  2026-03-02 10:20:31  cleaner  token:night-shift  pause " in row
    assert row.endswith("…")


def test_wide_prints_every_column_in_full(headrace: Headrace) -> None:
    _, out, _ = headrace("trail", "-n", "1", "--wide")

    for value in ("2026-03-02 10:20:31.250000", OUTCOME, REQUEST, '{"desired":"paused"}'):
        assert value in out


def test_json_has_every_field(headrace: Headrace, entry_id: int) -> None:
    [entry] = json.loads(headrace("trail", "-n", "1", "--output", "json")[1])

    assert (entry["id"], entry["at"], entry["outcome"]) == (entry_id, "2026-03-02T10:20:31.250000+00:00", OUTCOME)


def test_old_months_move_to_a_file(headrace: Headrace, tmp_path: Path) -> None:
    file = tmp_path / "trail.jsonl"

    code, out, error = headrace("trail", "--archive", str(file), "--older-than", "2026-04")
    listed = json.loads(headrace("trail", "--output", "json")[1])

    assert code == 0, error
    assert "lines older than 2026-04" in out
    assert {json.loads(line)["request_id"] for line in file.read_text().splitlines()} == {REQUEST}
    assert listed[0]["action"] == "archive"
    assert all(line["at"] >= "2026-04" for line in listed)
    assert headrace("trail", "--archive", str(file))[0] == 2
