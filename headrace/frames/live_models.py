"""Replaces "live" in a selection of models by the versions of the models that are live."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from headrace.frames.query import Filters, literal

LIVE = "live"
_COLUMN = "model_version"


class _HasTable(Protocol):
    @property
    def table(self) -> pa.Table: ...


def with_live_models(filters: Filters, read: Callable[[str], _HasTable], until: dt.datetime | None = None) -> Filters:
    """The filters with versions in place of "live". Without a live model "live" stays, which selects no row.

    `until`: the models that were live at this instant.
    """
    wanted = filters.equals.get(_COLUMN, ())
    if LIVE not in wanted:
        return filters
    live = read(live_models_statement(filters.sources, until)).table.column(0).to_pylist()
    versions = tuple(dict.fromkeys([*(each for each in wanted if each != LIVE), *live])) or (LIVE,)
    return replace(filters, equals={**filters.equals, _COLUMN: versions})


def live_models_statement(sources: Sequence[str] = (), until: dt.datetime | None = None) -> str:
    """The model of the newest prediction of each source, without models that only observe."""
    source = "split_part(v.event_key, ':', 1)"
    where = ["NOT v.shadow"]
    where += [f"{source} IN ({', '.join(map(literal, sources))})"] if sources else []
    where += [f"v.as_of <= timestamptz {literal(until.isoformat())}"] if until is not None else []
    return (
        f"SELECT DISTINCT ON ({source}) v.{_COLUMN} FROM analytics.packed_predictions v WHERE {' AND '.join(where)}"
        f' ORDER BY {source}, v.as_of DESC, v.{_COLUMN} COLLATE "C" DESC'
    )
