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


def test_pack_predictions_packs_what_an_earlier_version_stored(headrace: Headrace, access: Access) -> None:
    with access.connect() as connection:
        connection.execute("UPDATE facts.predictions SET layout = NULL, layout_values = NULL")
        left = "SELECT count(*) FROM facts.predictions WHERE layout IS NULL"
        assert (count := connection.execute(left).fetchone()) is not None
        assert count[0] > 0

        code, out, _ = headrace("db", "pack-predictions", "--batch", "1")

        assert (code, out) == (0, f"{count[0]} predictions packed; none is left\n")
        assert connection.execute(left).fetchone() == (0,)
        assert headrace("db", "pack-predictions")[:2] == (0, "0 predictions packed; none is left\n")
