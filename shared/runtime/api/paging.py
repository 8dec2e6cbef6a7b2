"""Splits lists into pages by key: a page begins after the last row of the previous page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Query

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="maximum number of results", examples=[100])]


def page_of(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """The page, and its last row if more pages follow. `rows` has up to `limit` + 1 rows."""
    page = rows[:limit]
    return page, page[-1] if len(rows) > limit else None
