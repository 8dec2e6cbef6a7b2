"""`headrace db`."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import psycopg

from headrace.database.access import Access

Headrace = Callable[..., tuple[int, str, str]]


def test_psql_accepts_the_uri_which_contains_no_secret(headrace: Headrace, access: Access, filled_dir: Path) -> None:
    code, out, err = headrace("db", "uri", "--role", "reader")

    assert (code, err) == (0, "")
    assert access.server is not None
    assert access.server.password_file("headrace_reader").read_text().strip() not in out
    with psycopg.connect(out.strip()) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("headrace_reader",)
    assert stat.S_IMODE((filled_dir / "secrets" / "pgpass").stat().st_mode) == 0o600


PREDICTIONS = """
INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash, probabilities)
SELECT gen_random_uuid(), id, 'card', 'm', now(), false, 'h',
       '[{"head": "result", "slot": 1, "label": "win", "probability": 0.5}]' FROM facts.events, generate_series(1, 3)
"""
# As a version before the columns wrote them.
UNPACK = "UPDATE facts.predictions SET layout = NULL, layout_values = NULL"


def test_pack_predictions_packs_what_an_earlier_version_stored(headrace: Headrace, access: Access) -> None:
    with access.connect() as connection:
        connection.execute(PREDICTIONS)
        connection.execute(UNPACK)
        try:
            code, out, err = headrace("db", "pack-predictions", "--batch", "2")
            again = headrace("db", "pack-predictions")

            assert connection.execute("SELECT DISTINCT layout_values FROM facts.predictions").fetchall() == [([0.5],)]
        finally:
            connection.execute("DELETE FROM facts.predictions")
    assert (code, out) == (0, "3 predictions packed; none is left\n")
    assert err.splitlines() == ["2 predictions packed", "3 predictions packed"]
    assert again[:2] == (0, "0 predictions packed; none is left\n")


def test_verify_reports_each_inconsistency_with_what_to_do(headrace: Headrace) -> None:
    code, out, err = headrace("db", "verify", "--no-exports")

    lines = out.splitlines()
    at = lines.index("facts.events made-up:2026-01-31:07:01")
    assert (code, err) == (1, "")
    assert lines[at + 1 : at + 3] == ["    expected: one version or more", "    actual:   no version"]
    assert lines[at + 3].startswith("    remedy:   restore a backup")
    assert lines[-1].startswith("1 events verified: ")
