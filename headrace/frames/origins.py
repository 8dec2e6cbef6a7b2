"""Remembers which database a frame comes from, so that the accessor can read its results.

A frame holds no connection and no address: `attrs["origin"]` has an opaque name of the database, and the instant of a
frame of `hr.as_of(...)`. Only the process that read the frame knows the database of the name. pandas keeps the attrs
when a frame is filtered, sorted or copied, and drops them when frames of different calls are put together.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pandas as pd

from headrace.frames.errors import InvalidFrame
from headrace.frames.views import Views
from shared.events import day_of

ORIGIN = "origin"
RESULTS = ("event_key", "slot", "place", "date", "venue")
HINT = 'results=hr.results("2026-01") gives them, for the same days'
# No event has this key: the answer has no rows, and the usual types.
_NO_EVENT = ""
_PROCESS_KEY = secrets.token_bytes(16)


class Client(Protocol):
    """What is needed of headrace.frames.Headrace."""

    @property
    def results(self) -> Callable[..., pd.DataFrame]: ...

    def as_of(self, instant: str | dt.datetime) -> Views: ...


OpenClient = Callable[[], AbstractContextManager[Client]]
_CLIENTS: dict[str, OpenClient] = {}


def remember(conninfo: str, open_client: OpenClient) -> dict[str, str]:
    """The origin of the frames of a database. `open_client` opens a client of it with its own connection."""
    name = hashlib.blake2b(conninfo.encode(), key=_PROCESS_KEY, digest_size=8).hexdigest()
    _CLIENTS[name] = open_client
    return {"database": name}


def results_of(frame: pd.DataFrame, *, with_earlier_days: bool = False) -> pd.DataFrame:
    """The results of the frame's days, with the columns RESULTS. Raises InvalidFrame if the origin is not known.

    A frame of `hr.as_of(...)` gets the results that were known at its instant.
    """
    origin = frame.attrs.get(ORIGIN, {})
    open_client = _CLIENTS.get(origin.get("database", ""))
    if open_client is None:
        raise InvalidFrame(
            "the frame of predictions has no results, and does not say from which database of this process it comes"
            f" (pd.concat of several calls drops attrs): {HINT}"
        )
    with open_client() as client:
        views = client.as_of(origin["as_of"]) if "as_of" in origin else client
        return views.results(**_selection(frame, with_earlier_days), columns=RESULTS)


def _selection(frame: pd.DataFrame, with_earlier_days: bool) -> dict[str, Any]:
    keys = [str(key) for key in frame["event_key"].unique()]
    days = [day for key in keys if (day := day_of(key)) is not None]
    if not days:
        return {"event": _NO_EVENT}
    first = None if with_earlier_days else min(days)
    return {"source": sorted({key.split(":")[0] for key in keys}), "from_day": first, "to_day": max(days)}
