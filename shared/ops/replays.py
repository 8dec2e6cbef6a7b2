"""Defines replay requests and plans: which records of a topic are handled again.

A request names a window and filters; shared/ops/replay_planning.py resolves it to offset ranges. The records of these
ranges never change, so a plan always selects the same records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from fnmatch import fnmatchcase, translate
from typing import Annotated, Any, Literal, NamedTuple, Self

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.broker.contract import Record
from shared.errors import ConfigError
from shared.events import day_of
from shared.topics import CLEAN, LOADED, PREDICTIONS, partition_of

# The values of `kind` in facts and of `state` in predictions. The kinds of raw events are the feeds of their source.
KINDS = {
    CLEAN: frozenset({"listed", "observed", "settled", "reference"}),
    LOADED: frozenset({"listed", "observed", "settled", "reference"}),
    PREDICTIONS: frozenset({"card", "observation"}),
}
_WILD = re.compile(r"[*?\[]")

Key = Annotated[str, Field(min_length=1, max_length=200)]
Offset = Annotated[int, Field(ge=0)]


class OffsetSpan(NamedTuple):
    """Offsets of one partition, end exclusive."""

    begin: int
    end: int


class OffsetWindow(BaseModel):
    """A range of offsets of one partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin: Offset | None = Field(default=None, description="first offset; default: the earliest available")
    end: Offset | None = Field(default=None, description="end offset, exclusive; default: the current end")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.begin is not None and self.end is not None and self.end <= self.begin:
            raise ValueError(f"end ({self.end}) must be greater than begin ({self.begin})")
        return self


class ReplayRequest(BaseModel):
    """Selects the records of a topic to handle again, and the rate. Without a window, all records are selected."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    topic: Key = Field(description="a topic that the service reads", examples=["raw-events"])
    offsets: dict[Annotated[int, Field(ge=0)], OffsetWindow] | None = Field(
        default=None, min_length=1, description="a window per partition; partitions not named are not replayed"
    )
    begin: Offset | None = Field(default=None, description="first offset, in every partition")
    end: Offset | None = Field(default=None, description="end offset (exclusive), in every partition")
    since: AwareDatetime | None = Field(default=None, alias="from", description="start time, inclusive, with time zone")
    until: AwareDatetime | None = Field(default=None, alias="to", description="end time, exclusive, with time zone")
    time: Literal["record", "event"] = Field(
        default="record",
        description="which time `from` and `to` compare with: `record`, when the record was appended; `event`, when its"
        " event starts (midnight UTC of the event's day if the record has no time)",
    )
    keys: tuple[Key, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="event keys, or patterns: boatrace:2026-01-31:*"
    )
    kinds: tuple[Key, ...] | None = Field(
        default=None, min_length=1, max_length=20, description="kinds of facts, or feeds of raw events"
    )
    rate: float | None = Field(
        default=None, gt=0, le=1e6, allow_inf_nan=False, description="maximum records per second"
    )
    notify: bool = Field(default=False, description="whether the notifier sends messages for replayed records")

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        everywhere = self.begin is not None or self.end is not None
        if sum([self.offsets is not None, everywhere, self.by_time]) > 1:
            raise ValueError("give one window: offsets, or begin and end, or from and to")
        if self.begin is not None and self.end is not None and self.end <= self.begin:
            raise ValueError(f"end ({self.end}) must be greater than begin ({self.begin})")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("`to` must be later than `from`")
        if self.time == "event" and not self.by_time:
            raise ValueError("time: event needs `from` or `to`")
        known_kinds = KINDS.get(self.topic)
        if known_kinds and (unknown := sorted(set(self.kinds or ()) - known_kinds)):
            raise ValueError(f"unknown kind {unknown[0]!r}: {self.topic} has {', '.join(sorted(known_kinds))}")
        return self

    @property
    def by_time(self) -> bool:
        return self.since is not None or self.until is not None

    @property
    def reads_records(self) -> bool:
        """Tells whether selecting a record needs its contents; otherwise its offset is enough."""
        return bool(self.keys or self.kinds or self.time == "event")

    def partitions(self, count: int) -> frozenset[int]:
        """The partitions that can hold selected records: an exact key lies in exactly one partition."""
        if self.keys and not any(_WILD.search(key) for key in self.keys):
            return frozenset(partition_of(key.encode(), count) for key in self.keys)
        return frozenset(range(count))

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def request_of(data: Mapping[str, Any]) -> ReplayRequest:
    """Raises ConfigError, which names the first invalid field and the reason."""
    try:
        return ReplayRequest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {first['msg']}" if where else first["msg"]) from None


class RecordPointer(NamedTuple):
    """A record that a plan refers to: its place, key and time of append."""

    place: str
    key: str
    appended_at: str


@dataclass(frozen=True)
class ReplayPlan:
    """A request resolved to offsets: per partition, a range and the number of selected records."""

    request: ReplayRequest
    spans: Mapping[int, OffsetSpan]
    counts: Mapping[int, int]
    first: RecordPointer | None = None
    last: RecordPointer | None = None

    @property
    def selected(self) -> int:
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """The JSON stored in an operation's target and in ops.plans."""
        return {
            "topic": self.request.topic,
            "request": self.request.as_json(),
            "spans": {str(p): list(span) for p, span in sorted(self.spans.items())},
            "counts": {str(p): count for p, count in sorted(self.counts.items())},
            "selected": self.selected,
            "first": None if self.first is None else self.first._asdict(),
            "last": None if self.last is None else self.last._asdict(),
            "notify": self.request.notify,
        }


def plan_of(stored: Mapping[str, Any]) -> ReplayPlan:
    first, last = stored["first"], stored["last"]
    return ReplayPlan(
        request_of(stored["request"]),
        {int(p): OffsetSpan(*span) for p, span in stored["spans"].items()},
        {int(p): count for p, count in stored["counts"].items()},
        None if first is None else RecordPointer(**first),
        None if last is None else RecordPointer(**last),
    )


class _MessageFields(msgspec.Struct):
    """The fields of a message that a selection reads; all other fields are skipped."""

    kind: str | None = None
    feed: str | None = None
    state: str | None = None
    scheduled_at: datetime | None = None


_DECODER = msgspec.json.Decoder(_MessageFields)
_NO_FIELDS = _MessageFields()


def kind_of(record: Record) -> str | None:
    """The kind, feed or state of a message; None if it has none or cannot be decoded."""
    fields = _fields_of(record)
    return fields.kind or fields.feed or fields.state


def event_time_of(record: Record) -> datetime | None:
    """When the record's event starts; None for a record without an event (reference data)."""
    scheduled_at = _fields_of(record).scheduled_at
    if scheduled_at is not None and scheduled_at.tzinfo is not None:
        return scheduled_at
    day = day_of(record.key.decode(errors="replace"))
    return None if day is None else datetime.combine(day, time(), UTC)


def selector_of(request: ReplayRequest) -> Callable[[Record], bool]:
    """A predicate that tells whether a record within the plan's offsets is selected."""
    tests: list[Callable[[Record], bool]] = []
    if request.keys:
        exact = frozenset(key.encode() for key in request.keys)
        wild = [translate(key) for key in request.keys if _WILD.search(key)]
        pattern = re.compile("|".join(wild)) if wild else None
        tests.append(
            lambda record: (
                record.key in exact
                or (pattern is not None and pattern.match(record.key.decode(errors="replace")) is not None)
            )
        )
    if request.kinds:
        kinds = frozenset(request.kinds)
        tests.append(lambda record: kind_of(record) in kinds)
    if request.time == "event":
        tests.append(lambda record: _within(event_time_of(record), request.since, request.until))
    return lambda record: all(test(record) for test in tests)


def overlap(a: ReplayPlan, b: ReplayPlan) -> str | None:
    """The first offset range in which two plans may select the same record, as text; None if they cannot.

    Conservative: reports an overlap that cannot be ruled out.
    """
    one, other = a.request, b.request
    if one.topic != other.topic or not _keys_overlap(one.keys, other.keys):
        return None
    if one.kinds and other.kinds and not set(one.kinds) & set(other.kinds):
        return None
    if one.time == other.time == "event" and not _times_overlap(one, other):
        return None
    for p in sorted(a.spans.keys() & b.spans.keys()):
        begin, end = max(a.spans[p].begin, b.spans[p].begin), min(a.spans[p].end, b.spans[p].end)
        if begin < end:
            return f"{one.topic}/{p} from {begin} to {end}"
    return None


def _fields_of(record: Record) -> _MessageFields:
    try:
        return _DECODER.decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _NO_FIELDS


def _within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    return at is not None and (since is None or at >= since) and (until is None or at < until)


def _times_overlap(one: ReplayRequest, other: ReplayRequest) -> bool:
    since = max((each for each in (one.since, other.since) if each is not None), default=None)
    until = min((each for each in (one.until, other.until) if each is not None), default=None)
    return since is None or until is None or since < until


def _keys_overlap(some: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    return not some or not others or any(_may_both_match(a, b) for a in some for b in others)


def _may_both_match(a: str, b: str) -> bool:
    """Conservative for two patterns: only different literal prefixes or suffixes prove that they cannot both match."""
    if not _WILD.search(a):
        return a == b or fnmatchcase(a, b)
    if not _WILD.search(b):
        return fnmatchcase(b, a)
    return _prefixes_agree(_literal_prefix(a), _literal_prefix(b)) and _prefixes_agree(
        _reversed_suffix(a), _reversed_suffix(b)
    )


def _literal_prefix(pattern: str) -> str:
    """The literal prefix of every match."""
    return _WILD.split(pattern, maxsplit=1)[0]


def _reversed_suffix(pattern: str) -> str:
    """The literal suffix of every match, reversed; a `]` may close a class, so the suffix ends there."""
    return re.split(r"[*?\]]", pattern)[-1][::-1]


def _prefixes_agree(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)
