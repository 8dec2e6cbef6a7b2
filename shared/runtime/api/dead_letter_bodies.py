"""Defines the request and response bodies of the dead-letter endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.ops.dead_letter_choice import MAX_REDRIVES, DeadLetterFilter
from shared.ops.dead_letters import DeadLetter, DeadLetterPlace, State, place_of

MAX_IDS = 10_000
DeadLetterId = Annotated[str, Field(pattern=r"^[0-9]{1,9}/[0-9]{1,18}$", description="partition/offset")]
Text = Annotated[str, Field(min_length=1, max_length=200)]
_LETTER = {
    "id": "0/17", "state": "open", "at": "2026-01-31T09:00:00Z", "key": "boatrace:2026-01-31:07:04",
    "cause": "InvalidEvent", "message": "places: expected 1, 2, 3 ...", "stage": "handle",
    "stack_digest": "5c0a9be6d1f3a277", "stack_frame": "services.cleaner.rules:places:140", "attempts": 1,
    "redrives": 0, "origin": "raw-events/3/4711", "first_failed_at": "2026-01-31T09:00:00.000000+00:00",
    "size_bytes": 2048,
}  # fmt: skip
_COUNTS = {"selected": 3, "settled": 1, "over_cap": 0, "unknown": 0}


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class DeadLetterBody(BaseModel):
    """A record that a service could not handle."""

    model_config = _example(_LETTER)

    id: str = Field(description="position in the service's dead-letter topic: partition/offset")
    state: State
    at: datetime = Field(description="when the dead letter was written")
    key: str = Field(description="record key, first 200 characters")
    cause: str = Field(description="class of the error")
    message: str = Field(description="error message, first 200 characters")
    stage: str = Field(description="processing step that failed: decode, handle or capture")
    stack_digest: str = Field(description="equal for failures with the same stack")
    stack_frame: str = Field(description="innermost stack frame: module:function:line")
    attempts: int = Field(description="how often the record was tried")
    redrives: int = Field(description="how often the record was redriven before it failed again")
    origin: str | None = Field(description="record that failed: topic/partition/offset; null if no record was read")
    first_failed_at: str
    size_bytes: int
    cut: bool = Field(description="the end of the value is missing, because the record was too large for a dead letter")
    original_size_bytes: int = Field(description="size of the whole value; larger than `size_bytes` if it is cut")

    @classmethod
    def of(cls, letter: DeadLetter, state: State) -> Self:
        return cls(
            id=str(letter.place), state=state, at=letter.at, key=letter.key, cause=letter.cause,
            message=letter.message, stage=letter.stage, stack_digest=letter.stack_digest,
            stack_frame=letter.stack_frame, attempts=letter.attempts, redrives=letter.redrives, origin=letter.origin,
            first_failed_at=letter.first_failed_at, size_bytes=letter.size_bytes, cut=letter.cut,
            original_size_bytes=letter.original_size_bytes,
        )  # fmt: skip


class DeadLetterPage(BaseModel):
    """A page of dead letters, the newest first."""

    model_config = _example({"dead_letters": [_LETTER], "next": None, "earliest": {"0": 0}})

    dead_letters: list[DeadLetterBody]
    next: str | None = Field(description="`before` of the next page; null on the last page")
    earliest: dict[str, int] = Field(description="per partition, the first offset that is listed")


class DeadLetterHistoryEntry(BaseModel):
    """An entry in the history of a dead letter or of the record that failed."""

    at: datetime
    what: str
    by: str | None = None
    operation: str | None = None
    reason: str | None = None
    dead_letter: str | None = Field(default=None, description="another dead letter of the same record")


class DeadLetterDetail(BaseModel):
    """A dead letter with its payload, headers and history."""

    model_config = _example(
        {
            "letter": _LETTER,
            "payload": {"encoding": "json", "value": {"a": 1}, "note": None, "size_bytes": 7},
            "headers": {"schema": "raw-event/1"},
            "message": "places: expected 1, 2, 3 ...",
            "show_origin": "headrace topics get raw-events 3 4711",
            "trail": [{"at": "2026-01-31T09:00:00Z", "what": "failed"}],
        }
    )

    letter: DeadLetterBody
    payload: dict[str, Any] = Field(description="`encoding` (json, text, base64), `value`, and `note` if it was cut")
    headers: dict[str, str] = Field(description="text, or base64:... for bytes that are not UTF-8")
    message: str = Field(description="error message as stored")
    show_origin: str | None = Field(description="command that shows the record that failed")
    trail: list[DeadLetterHistoryEntry] = Field(description="history, the oldest entry first")


class Facet(BaseModel):
    """The number of dead letters with this value."""

    model_config = _example({"value": "InvalidEvent", "records": 3})

    value: str
    records: int
    frame: str | None = Field(default=None, description="stack digests only: innermost stack frame")
    message: str | None = Field(default=None, description="stack digests only: error message of one of the letters")
    example: str | None = Field(default=None, description="stack digests only: id of one of the letters")


class Facets(BaseModel):
    """Counts by value, the most frequent first; at most 50 values per kind."""

    model_config = _example(
        {name: [{"value": "x", "records": 3}] for name in ("causes", "stages", "stack_digests", "topics", "days")}
    )

    causes: list[Facet]
    stages: list[Facet]
    stack_digests: list[Facet]
    topics: list[Facet]
    days: list[Facet]


class DeadLetterFilterBody(BaseModel):
    """Selects open dead letters. Conditions are combined with AND; an omitted condition matches every letter."""

    model_config = ConfigDict(
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_extra={"examples": [{"cause": "InvalidEvent", "from": "2026-01-31T09:00:00Z"}]},
    )

    cause: Text | None = Field(default=None, description="class of the error")
    key: Text | None = Field(default=None, description="record key, or a pattern in which * matches any text")
    since: AwareDatetime | None = Field(default=None, alias="from", description="written at or after this time")
    until: AwareDatetime | None = Field(default=None, alias="to", description="written before this time")
    topic: Text | None = Field(default=None, description="topic of the record that failed")
    stage: Text | None = None
    stack_digest: Text | None = None

    def to_filter(self) -> DeadLetterFilter:
        return DeadLetterFilter(**self.model_dump())


class DeadLetterChangeRequest(BaseModel):
    """Selects dead letters by exactly one of `ids`, `filter` and `all`."""

    model_config = ConfigDict(extra="forbid")

    ids: list[DeadLetterId] | None = Field(default=None, min_length=1, max_length=MAX_IDS)
    filter: DeadLetterFilterBody | None = None
    all: bool = False
    dry_run: bool = Field(default=False, description="return the selection without changing anything")

    def places(self) -> list[DeadLetterPlace] | None:
        return None if self.ids is None else [place for text in self.ids if (place := place_of(text)) is not None]

    def to_filter(self) -> DeadLetterFilter:
        return DeadLetterFilter() if self.filter is None else self.filter.to_filter()

    def describe(self) -> str:
        """Describes the selection in the audit trail."""
        if self.ids is not None:
            return f"{len(self.ids)} dead letters"
        conditions = (
            {} if self.filter is None else self.filter.model_dump(mode="json", by_alias=True, exclude_none=True)
        )
        return (
            "dead letters with " + ", ".join(f"{k}={v}" for k, v in conditions.items())
            if conditions
            else "all dead letters"
        )

    def selector_count(self) -> int:
        return (self.ids is not None) + (self.filter is not None) + self.all


class RedriveRequest(DeadLetterChangeRequest):
    """Selects dead letters to send back to the retry topic."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"ids": ["0/17"]}, {"filter": {"cause": "InvalidEvent"}, "dry_run": True}]},
    )

    force: bool = Field(default=False, description=f"include letters that were redriven {MAX_REDRIVES} times or more")
    plan_id: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,12}$",
        description="execute exactly the plan of this dry run, instead of a selection",
    )

    @model_validator(mode="after")
    def _check_selectors(self) -> Self:
        if self.selector_count() + (self.plan_id is not None) != 1:
            raise ValueError("expected exactly one of ids, filter, all and plan_id")
        if self.plan_id is not None and (self.dry_run or self.force):
            raise ValueError("plan_id cannot be combined with dry_run or force")
        return self


class DiscardRequest(DeadLetterChangeRequest):
    """Selects dead letters to discard. Discarded letters stay in the topic and remain readable."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": ["0/17"], "reason": "a test of the source's"}]}
    )

    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S", description="reason, stored with the discard")

    @model_validator(mode="after")
    def _check_selectors(self) -> Self:
        if self.selector_count() != 1:
            raise ValueError("expected exactly one of ids, filter and all")
        return self


class PartitionRange(BaseModel):
    """A range of offsets in one partition of the dead-letter topic."""

    model_config = _example({"partition": 0, "begin": 4, "end": 18})

    partition: int
    begin: int = Field(description="first offset")
    end: int = Field(description="end offset, exclusive")


class DeadLetterPlanBody(BaseModel):
    """The selection of a dry run."""

    model_config = _example(
        {"plan_id": "000000000018", "counts": _COUNTS, "partitions": [{"partition": 0, "begin": 4, "end": 18}]}
    )

    plan_id: str | None = Field(
        description="send as `plan_id` to redrive exactly this selection; kept for 48 h; null for discards"
    )
    counts: dict[str, int] = Field(
        description="selected; settled: no longer open; over_cap: redriven too often; unknown: no such letter"
    )
    partitions: list[PartitionRange] = Field(description="offset ranges that the selection is limited to")
