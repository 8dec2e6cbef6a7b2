from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

from headrace.frames.as_of.instant import instant_of
from headrace.frames.errors import BadArgument

NOON = datetime(2026, 1, 31, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00+09:00",
        " 2026-01-31 03:00Z ",
        datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=9))),
        pd.Timestamp("2026-01-31 12:00", tz="Asia/Tokyo"),
    ],
)
def test_an_instant_is_the_same_in_every_zone(value: Any) -> None:
    assert instant_of(value) == NOON


@pytest.mark.parametrize("value", ["2026-01-31T12:00", "2026-01-31", datetime(2026, 1, 31, 12)])  # noqa: DTZ001
def test_a_time_without_zone_is_refused_with_what_to_write(value: Any) -> None:
    with pytest.raises(BadArgument, match=r'write "2026-01-31T(12|00):00\+09:00" for the time in Japan'):
        instant_of(value)


@pytest.mark.parametrize("value", ["noon", "", 7, None, pd.NaT, "0001-01-01T00:00+09:00"])
def test_what_is_no_instant_is_refused(value: Any) -> None:
    with pytest.raises(BadArgument, match="as_of is"):
        instant_of(value)
