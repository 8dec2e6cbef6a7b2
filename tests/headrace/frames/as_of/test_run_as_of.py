"""`hr.as_of(INSTANT)` has the rows of `headrace run --as-of INSTANT` over the same archive."""

from __future__ import annotations

from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from headrace.database.access import open_database
from shared.settings.sections import Settings
from tests.headrace.frames.as_of.reading import assert_equal, frames_as_of, frames_now
from tests.headrace.runs import DAYS, run_once, write_archive

pytestmark = pytest.mark.slow
# Between two races of the first day, where the source is.
NOON = datetime.combine(DAYS[0], time(12), ZoneInfo("Asia/Tokyo"))


def test_as_of_has_the_rows_of_a_run_as_of_the_instant(tmp_path: Path) -> None:
    whole, then = tmp_path / "whole", tmp_path / "then"
    run_once(write_archive(tmp_path / "recorded"), whole)
    run_once(whole / "archive", then, "--as-of", NOON.isoformat())

    with open_database(Settings(data_dir=whole)) as access, access.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        actual = frames_as_of(connection, NOON)
        assert len(frames_now(connection)["outcomes"]) > len(actual["outcomes"])
    with open_database(Settings(data_dir=then)) as access, access.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        assert_equal(actual, frames_now(connection))
    assert len(actual["outcomes"]) > 0
