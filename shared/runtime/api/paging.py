"""Pages of a listing, by key: a page begins after the last row of the page before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Query

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most", examples=[100])]


def page_of(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """A page of rows of which `limit` + 1 were read, and the row after which the next page begins; None: the last."""
    page = rows[:limit]
    return page, page[-1] if len(rows) > limit else None
