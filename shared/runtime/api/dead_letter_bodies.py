"""What the endpoints of dead letters take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.ops.dead_letter_choice import MOST_REDRIVES, Filter
from shared.ops.dead_letters import Letter, Place, State, place_of

MOST_IDS = 10_000
Id = Annotated[str, Field(pattern=r"^[0-9]{1,9}/[0-9]{1,18}$", description="partition/offset")]
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


class LetterBody(BaseModel):
    """A record that could not be handled."""

    model_config = _example(_LETTER)

    id: str = Field(description="where it lies in the service's dead-letter topic: partition/offset")
    state: State
    at: datetime = Field(description="when it became a dead letter")
    key: str = Field(description="the first 200 characters")
    cause: str = Field(description="the class of the error")
    message: str = Field(description="what the error said, the first 200 characters")
    stage: str = Field(description="decode, handle or capture")
    stack_digest: str = Field(description="the same for the same way to fail")
    stack_frame: str = Field(description="where in the code: module:function:line")
    attempts: int
    redrives: int = Field(description="how often it was sent back before it came here")
    origin: str | None = Field(description="the record that failed: topic/partition/offset; null: none was read")
    first_failed_at: str
    size_bytes: int

    @classmethod
    def of(cls, letter: Letter, state: State) -> Self:
        return cls(
            id=str(letter.place), state=state, at=letter.at, key=letter.key, cause=letter.cause,
            message=letter.message, stage=letter.stage, stack_digest=letter.stack_digest,
            stack_frame=letter.stack_frame, attempts=letter.attempts, redrives=letter.redrives, origin=letter.origin,
            first_failed_at=letter.first_failed_at, size_bytes=letter.size_bytes,
        )  # fmt: skip


class LetterPage(BaseModel):
    """The newest first."""

    model_config = _example({"dead_letters": [_LETTER], "next": None, "earliest": {"0": 0}})

    dead_letters: list[LetterBody]
    next: str | None = Field(description="give it as `before` for the next page; null: this was the last")
    earliest: dict[str, int] = Field(description="per partition, the first offset that is looked at")


class Happening(BaseModel):
    """Something that happened to a letter, or to the record that it was."""

    at: datetime
    what: str
    by: str | None = None
    operation: str | None = None
    reason: str | None = None
    dead_letter: str | None = Field(default=None, description="another letter of the same record")


class WholeLetter(BaseModel):
    """A dead letter, whole."""

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

    letter: LetterBody
    payload: dict[str, Any] = Field(description="`encoding` (json, text, base64), `value`, `note` where it was cut")
    headers: dict[str, str] = Field(description="text; what is none as base64:...")
    message: str = Field(description="all that was kept of what the error said")
    show_origin: str | None = Field(description="the command that shows the record that failed")
    trail: list[Happening] = Field(description="what happened to it, the oldest first")


class Facet(BaseModel):
    """How many letters have this value in common."""

    model_config = _example({"value": "InvalidEvent", "records": 3})

    value: str
    records: int
    frame: str | None = Field(default=None, description="of a stack digest: where in the code")
    message: str | None = Field(default=None, description="of a stack digest: what one of them said")
    example: str | None = Field(default=None, description="of a stack digest: one of them")


class Facets(BaseModel):
    """The most frequent first; 50 of each kind at most."""

    model_config = _example(
        {name: [{"value": "x", "records": 3}] for name in ("causes", "stages", "stack_digests", "topics", "days")}
    )

    causes: list[Facet]
    stages: list[Facet]
    stack_digests: list[Facet]
    topics: list[Facet]
    days: list[Facet]


class FilterBody(BaseModel):
    """What is not given leaves none out. Only open letters are meant."""

    model_config = ConfigDict(
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_extra={"examples": [{"cause": "InvalidEvent", "from": "2026-01-31T09:00:00Z"}]},
    )

    cause: Text | None = Field(default=None, description="the class of the error")
    key: Text | None = Field(default=None, description="a key, or a pattern in which * stands for anything")
    since: AwareDatetime | None = Field(default=None, alias="from", description="from then on")
    until: AwareDatetime | None = Field(default=None, alias="to", description="before then")
    topic: Text | None = Field(default=None, description="where the record came from")
    stage: Text | None = None
    stack_digest: Text | None = None

    def wanted(self) -> Filter:
        return Filter(**self.model_dump())


class Chosen(BaseModel):
    """Which letters: exactly one of `ids`, `filter` and `all`."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Id] | None = Field(default=None, min_length=1, max_length=MOST_IDS)
    filter: FilterBody | None = None
    all: bool = False
    dry_run: bool = Field(default=False, description="only say what would be done")

    def places(self) -> list[Place] | None:
        return None if self.ids is None else [place for text in self.ids if (place := place_of(text)) is not None]

    def wanted(self) -> Filter:
        return Filter() if self.filter is None else self.filter.wanted()

    def said(self) -> str:
        """For the trail."""
        if self.ids is not None:
            return f"{len(self.ids)} dead letters"
        given = {} if self.filter is None else self.filter.model_dump(mode="json", by_alias=True, exclude_none=True)
        return "dead letters with " + ", ".join(f"{k}={v}" for k, v in given.items()) if given else "all dead letters"

    def ways(self) -> int:
        return (self.ids is not None) + (self.filter is not None) + self.all


class Redrive(Chosen):
    """Send dead letters back to be tried again."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"ids": ["0/17"]}, {"filter": {"cause": "InvalidEvent"}, "dry_run": True}]},
    )

    force: bool = Field(default=False, description=f"also those that were redriven {MOST_REDRIVES} times")
    plan_id: str | None = Field(
        default=None, pattern=r"^[0-9]{1,12}$", description="exactly what this dry run found, instead of a choice"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ways() + (self.plan_id is not None) != 1:
            raise ValueError("choose the letters in one way: ids, filter, all or plan_id")
        if self.plan_id is not None and (self.dry_run or self.force):
            raise ValueError("a plan is executed as it is: without dry_run and force")
        return self


class Discard(Chosen):
    """Put dead letters aside for good. They stay in the topic, and can be looked at."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": ["0/17"], "reason": "a test of the source's"}]}
    )

    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S", description="why; it is kept")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ways() != 1:
            raise ValueError("choose the letters in one way: ids, filter or all")
        return self


class PinnedPartition(BaseModel):
    """Offsets of the dead-letter topic."""

    model_config = _example({"partition": 0, "begin": 4, "end": 18})

    partition: int
    begin: int = Field(description="the first offset")
    end: int = Field(description="the offset after the last")


class Found(BaseModel):
    """What a dry run found."""

    model_config = _example(
        {"plan_id": "000000000018", "counts": _COUNTS, "partitions": [{"partition": 0, "begin": 4, "end": 18}]}
    )

    plan_id: str | None = Field(description="redrives: send it to execute exactly this; kept for 48 h")
    counts: dict[str, int] = Field(
        description="selected; settled: dealt with before; over_cap: redriven too often; unknown: not there"
    )
    partitions: list[PinnedPartition] = Field(description="the offsets that it is pinned to")
