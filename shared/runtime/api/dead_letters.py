"""Serves the endpoints that list, count and show dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException

from shared.broker.contract import Record
from shared.ops.dead_letter_choice import DeadLetterFilter, count_facets
from shared.ops.dead_letters import MESSAGE, DeadLetter, DeadLetterPlace, State, letter_of, printable
from shared.ops.tables import dead_letters as dead_letters_table
from shared.ops.tables.dead_letters import DeadLetterSettlement
from shared.runtime.api.context import AdminContext
from shared.runtime.api.dead_letter_bodies import (
    DeadLetterBody,
    DeadLetterDetail,
    DeadLetterHistoryEntry,
    DeadLetterPage,
    Facet,
    Facets,
)
from shared.runtime.api.dead_letter_changes import add_changes
from shared.runtime.api.paging import Limit, page_of
from shared.runtime.api.payloads import render_headers, render_payload
from shared.runtime.api.problems import responses
from shared.runtime.dead_letters.index import DeadLetterIndex, read_letter, sort_key
from shared.topics import dead_letter_topic

SHOWN_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024
Cause = Annotated[str | None, Query(max_length=200, description="class of the error", examples=["InvalidEvent"])]
OfState = Annotated[State | None, Query(description="state: open, redriven or discarded", examples=["open"])]
Key = Annotated[
    str | None, Query(max_length=200, description="record key; * matches any text", examples=["boatrace:2026-01-31:*"])
]
Since = Annotated[
    AwareDatetime | None,
    Query(alias="from", description="written at or after this time", examples=["2026-01-31T09:00Z"]),
]
Until = Annotated[
    AwareDatetime | None, Query(alias="to", description="written before this time", examples=["2026-01-31T10:00Z"])
]
Topic = Annotated[
    str | None, Query(max_length=200, description="topic of the record that failed", examples=["raw-events"])
]
Stage = Annotated[
    str | None,
    Query(max_length=200, description="processing step that failed: decode, handle or capture", examples=["handle"]),
]
Digest = Annotated[str | None, Query(max_length=200, description="stack digest", examples=["5c0a9be6d1f3a277"])]
Before = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9]{1,15}-[0-9]{1,9}-[0-9]{1,18}$",
        description="`next` of the previous page",
        examples=["1769850000000-0-17"],
    ),
]
Partition = Annotated[int, Path(ge=0, lt=10**9, examples=[0])]
Offset = Annotated[int, Path(ge=0, lt=10**18, examples=[17])]
LimitBytes = Annotated[
    int, Query(ge=1, le=MAX_PAYLOAD_BYTES, description="maximum bytes of the payload to return", examples=[SHOWN_BYTES])
]


def _filter(
    cause: Cause = None, state: OfState = None, key: Key = None, since: Since = None, until: Until = None,
    topic: Topic = None, stage: Stage = None, stack_digest: Digest = None,
) -> DeadLetterFilter:  # fmt: skip
    return DeadLetterFilter(cause, state, key, since, until, topic, stage, stack_digest)


Wanted = Annotated[DeadLetterFilter, Depends(_filter)]


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/dead-letters", tags=["dead letters"])
    index = DeadLetterIndex(context.service)
    _add_reads(context, router, index)
    add_changes(context, router, index)
    return router


def _add_reads(context: AdminContext, router: APIRouter, index: DeadLetterIndex) -> None:
    def matching(conditions: DeadLetterFilter) -> list[tuple[DeadLetter, State]]:
        with context.broker() as broker:
            index.refresh(broker)
        with context.transaction() as connection:
            states = dead_letters_table.states(connection, context.service)
        letters = [(letter, states.get(letter.place, "open")) for letter in index.letters()]
        return [(letter, state) for letter, state in letters if conditions.matches(letter, state)]

    @router.get("", summary="List dead letters")
    def list_dead_letters(conditions: Wanted, before: Before = None, limit: Limit = 100) -> DeadLetterPage:
        """Returns a page of this service's dead letters, the newest first."""
        letters = matching(conditions)
        if before is not None:
            at_ms, partition, offset = map(int, before.split("-"))
            letters = [each for each in letters if sort_key(each[0]) < (at_ms, DeadLetterPlace(partition, offset))]
        page, last = page_of(letters, limit)
        return DeadLetterPage(
            dead_letters=[DeadLetterBody.of(*each) for each in page],
            next=None if last is None else _cursor(last[0]),
            earliest={str(partition): begin for partition, (begin, _) in sorted(index.spans().items())},
        )

    @router.get("/facets", summary="Count dead letters by kind")
    def count_dead_letters(conditions: Wanted) -> Facets:
        """Counts dead letters by cause, stage, stack digest, topic and day."""
        letters = matching(conditions)
        kinds = count_facets(letter for letter, _ in letters)
        return Facets(**{kind: [Facet(**each) for each in values] for kind, values in kinds.items()})

    @router.get("/{partition}/{offset}", summary="Get a dead letter", responses=responses(404))
    def get_dead_letter(
        partition: Partition, offset: Offset, limit_bytes: LimitBytes = SHOWN_BYTES
    ) -> DeadLetterDetail:
        """Returns its payload, all of its headers and its history."""
        place = DeadLetterPlace(partition, offset)
        with context.broker() as broker:
            index.refresh(broker)
            record = read_letter(broker, context.service, place)
        if record is None:
            raise HTTPException(
                HTTPStatus.NOT_FOUND,
                f"there is no dead letter at {dead_letter_topic(context.service)}/{place};"
                " GET /v1/dead-letters lists them",
            )
        with context.transaction() as connection:
            settlement = dead_letters_table.settlement_of(connection, context.service, place)
        return _detail(record, settlement, index.letters(), limit_bytes)


def _detail(
    record: Record, settlement: DeadLetterSettlement | None, letters: Sequence[DeadLetter], limit_bytes: int
) -> DeadLetterDetail:
    letter = letter_of(record)
    state: State = "open" if settlement is None else settlement.outcome
    command = (
        None if letter.origin is None else f"headrace topics get {letter.topic} {letter.partition} {letter.offset}"
    )
    return DeadLetterDetail(
        letter=DeadLetterBody.of(letter, state),
        payload=render_payload(record.value, limit_bytes),
        headers=render_headers(record.headers),
        message=printable(record.headers.get(MESSAGE, b"")),
        show_origin=command,
        trail=_history(letter, settlement, letters),
    )


def _history(
    letter: DeadLetter, settlement: DeadLetterSettlement | None, letters: Sequence[DeadLetter]
) -> list[DeadLetterHistoryEntry]:
    """The history of the letter and of other letters of the same record."""
    entries = [DeadLetterHistoryEntry(at=letter.at, what="failed")]
    if settlement is not None:
        entries.append(
            DeadLetterHistoryEntry(
                at=settlement.settled_at,
                what=settlement.outcome,
                by=settlement.settled_by,
                operation=settlement.operation_id,
                reason=settlement.reason,
            )
        )
    for other in letters:
        if letter.origin is not None and other.origin == letter.origin and other.place != letter.place:
            what = "failed before" if sort_key(other) < sort_key(letter) else "failed again"
            entries.append(DeadLetterHistoryEntry(at=other.at, what=what, dead_letter=str(other.place)))
    return sorted(entries, key=lambda each: each.at)


def _cursor(letter: DeadLetter) -> str:
    return f"{letter.at_ms}-{letter.place.partition}-{letter.place.offset}"
