"""Plans a replay from the archive of raw documents, and rebuilds its records.

The records are appended to raw-events with the same event ids and bytes, under the replay's revision. Every stage
downstream processes them again without notifying, even when the topic no longer has the original records.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.fetcher.archive.rebuild import Recapture, lines_by_window
from services.fetcher.planning.windows import Window, window_of
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import IndexLine
from shared.broker.contract import NewRecord
from shared.errors import ConfigError
from shared.topics import RAW

Key = Annotated[str, Field(min_length=1, max_length=200)]
REQUEST_EXAMPLE: JsonDict = {
    "from": "2026-01-01",
    "to": "2026-01-31",
    "feeds": ["results"],
    "keys": ["boatrace:2026-01-31:*"],
}
PLAN_EXAMPLE: JsonDict = {
    "topic": "raw-events",
    "from_archive": True,
    "wish": {"from": "2026-01-31", "to": "2026-01-31"},
    "notify": False,
    "windows": ["boatrace/results/2026-01-31"],
    "lines": 3,
    "selected": 168,
}


class ArchiveReplayRequest(BaseModel):
    """Which archived documents to replay."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, json_schema_extra={"examples": [REQUEST_EXAMPLE]})

    from_date: date | None = Field(default=None, alias="from", description="first day; default: the archive's first")
    to_date: date | None = Field(default=None, alias="to", description="last day, inclusive; default: its last")
    feeds: tuple[Key, ...] | None = Field(default=None, min_length=1, max_length=50, description="default: all")
    keys: tuple[Key, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="event keys, or patterns: boatrace:2026-01-31:*"
    )
    rate: float | None = Field(
        default=None, gt=0, le=1e6, allow_inf_nan=False, description="maximum records per second"
    )
    notify: bool = Field(default=False, description="send notifications for the replayed records")
    dry_run: bool = Field(default=False, description="return the plan without replaying")

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        if self.from_date and self.to_date and self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        return self

    def includes(self, window: Window, source: Source) -> bool:
        """Whether the days and feeds include this window."""
        first, last = self.from_date or window.date, self.to_date or window.date
        return first <= window.date <= last and window.feed in source.feeds_of(self.feeds)

    def selects(self, record: NewRecord) -> bool:
        key = record.key.decode()
        return self.keys is None or any(fnmatchcase(key, pattern) for pattern in self.keys)


class ArchiveReplayPlan(BaseModel):
    """A replay request with its windows and the length of the index. Documents archived later are not replayed."""

    model_config = ConfigDict(json_schema_extra={"examples": [PLAN_EXAMPLE]})

    topic: str = RAW
    from_archive: bool = True
    wish: dict[str, Any]
    notify: bool
    windows: list[str] = Field(description="cursor keys of the windows, in replay order")
    lines: int = Field(description="documents in the archive's index when the replay was planned")
    selected: int = Field(description="records to replay")
    removed: list[str] = Field(
        default_factory=list, description="requested windows whose documents fetcher.archive_retention_days removed"
    )


def plan_replay(
    request: ArchiveReplayRequest,
    source: Source,
    lines: Sequence[IndexLine],
    recapture: Recapture,
    removed: Collection[Window] = (),
) -> ArchiveReplayPlan:
    """Splits every document of the windows to count its records. Raises ConfigError if there is nothing to replay.

    `removed`: the windows that retention removed.
    """
    windows = requested_windows(request, source, lines)
    selected = sum(
        request.selects(record)
        for window, window_lines in windows.items()
        for record in recapture(window, window_lines).records
        if record.topic == RAW
    )
    missing = sorted(each.key(source.name) for each in removed if request.includes(each, source))
    if not selected:
        hint = f"; fetcher.archive_retention_days removed {len(missing)} of their windows" if missing else ""
        raise ConfigError(f"the archive has no record for these days, feeds and keys{hint}")
    return ArchiveReplayPlan(
        wish=request.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        notify=request.notify,
        windows=[window.key(source.name) for window in windows],
        lines=len(lines),
        selected=selected,
        removed=missing,
    )


def requested_windows(
    request: ArchiveReplayRequest, source: Source, lines: Iterable[IndexLine]
) -> dict[Window, list[IndexLine]]:
    feeds = source.feeds_of(request.feeds)
    by_window = lines_by_window(lines, source, request.from_date, request.to_date)
    return {window: window_lines for window, window_lines in by_window.items() if window.feed in feeds}


def replayed_windows(
    target: Mapping[str, Any], source: Source, lines: Sequence[IndexLine], recapture: Recapture, revision: str
) -> tuple[list[Window], Callable[[Window], list[NewRecord]]]:
    """The windows of a planned replay, and a function that returns the records of one.

    Raises ConfigError if the archive no longer has one of them.
    """
    plan = ArchiveReplayPlan.model_validate(
        {name: target[name] for name in ArchiveReplayPlan.model_fields if name in target}
    )
    request = ArchiveReplayRequest.model_validate(plan.wish)
    by_window = lines_by_window(lines[: plan.lines], source)
    windows = [window for key in plan.windows if (window := window_of(key, source.name)) is not None]
    if gone := sorted(window.key(source.name) for window in windows if window not in by_window):
        raise ConfigError(f"the archive no longer has the documents of {gone[0]}: they were removed after the plan")

    def records_of(window: Window) -> list[NewRecord]:
        return [
            record._replace(headers={**record.headers, "revision": revision.encode()})
            for record in recapture(window, by_window.get(window, [])).records
            if record.topic == RAW and request.selects(record)
        ]

    return windows, records_of
