"""Serves the endpoints that list, count and show dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException

from shared.broker.contract import Record
from shared.ops.dead_letter_choice import Filter, facets
from shared.ops.dead_letters import MESSAGE, Letter, Place, State, letter_of, printable
from shared.ops.tables import dead_letters as dead_letters_table
from shared.ops.tables.dead_letters import Settled
from shared.runtime.api.context import Desk
from shared.runtime.api.dead_letter_bodies import Facet, Facets, Happening, LetterBody, LetterPage, WholeLetter
from shared.runtime.api.dead_letter_changes import add_changes
from shared.runtime.api.paging import Limit, page_of
from shared.runtime.api.payloads import headers_shown, payload
from shared.runtime.api.problems import responses
from shared.runtime.dead_letters.index import DeadLetterIndex, order, read_one
from shared.topics import dead_letter_topic

SHOWN_BYTES = 64 * 1024
MOST_BYTES = 1024 * 1024
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
    int, Query(ge=1, le=MOST_BYTES, description="maximum bytes of the payload to return", examples=[SHOWN_BYTES])
]


def _filter(
    cause: Cause = None, state: OfState = None, key: Key = None, since: Since = None, until: Until = None,
    topic: Topic = None, stage: Stage = None, stack_digest: Digest = None,
) -> Filter:  # fmt: skip
    return Filter(cause, state, key, since, until, topic, stage, stack_digest)


Wanted = Annotated[Filter, Depends(_filter)]


def router(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/dead-letters", tags=["dead letters"])
    index = DeadLetterIndex(desk.service)
    _reading(desk, router, index)
    add_changes(desk, router, index)
    return router


def _reading(desk: Desk, router: APIRouter, index: DeadLetterIndex) -> None:
    def matching(wanted: Filter) -> list[tuple[Letter, State]]:
        with desk.broker() as broker:
            index.refresh(broker)
        with desk.transaction() as connection:
            states = dead_letters_table.states(connection, desk.service)
        found = [(letter, states.get(letter.place, "open")) for letter in index.letters()]
        return [(letter, state) for letter, state in found if wanted.matches(letter, state)]

    @router.get("", summary="List dead letters")
    def listing(wanted: Wanted, before: Before = None, limit: Limit = 100) -> LetterPage:
        """Returns a page of this service's dead letters, the newest first."""
        found = matching(wanted)
        if before is not None:
            at_ms, partition, offset = map(int, before.split("-"))
            found = [each for each in found if order(each[0]) < (at_ms, Place(partition, offset))]
        page, last = page_of(found, limit)
        return LetterPage(
            dead_letters=[LetterBody.of(*each) for each in page],
            next=None if last is None else _cursor(last[0]),
            earliest={str(partition): begin for partition, (begin, _) in sorted(index.spans().items())},
        )

    @router.get("/facets", summary="Count dead letters by kind")
    def counted(wanted: Wanted) -> Facets:
        """Counts dead letters by cause, stage, stack digest, topic and day."""
        found = matching(wanted)
        kinds = facets(letter for letter, _ in found)
        return Facets(**{kind: [Facet(**each) for each in values] for kind, values in kinds.items()})

    @router.get("/{partition}/{offset}", summary="Get a dead letter", responses=responses(404))
    def look(partition: Partition, offset: Offset, limit_bytes: LimitBytes = SHOWN_BYTES) -> WholeLetter:
        """Returns its payload, all of its headers and its history."""
        place = Place(partition, offset)
        with desk.broker() as broker:
            index.refresh(broker)
            record = read_one(broker, desk.service, place)
        if record is None:
            raise HTTPException(
                HTTPStatus.NOT_FOUND,
                f"there is no dead letter at {dead_letter_topic(desk.service)}/{place};"
                " GET /v1/dead-letters lists them",
            )
        with desk.transaction() as connection:
            settled = dead_letters_table.settled(connection, desk.service, place)
        return _whole(record, settled, index.letters(), limit_bytes)


def _whole(record: Record, settled: Settled | None, letters: Sequence[Letter], limit_bytes: int) -> WholeLetter:
    letter = letter_of(record)
    state: State = "open" if settled is None else settled.outcome
    show = None if letter.origin is None else f"headrace topics get {letter.topic} {letter.partition} {letter.offset}"
    return WholeLetter(
        letter=LetterBody.of(letter, state),
        payload=payload(record.value, limit_bytes),
        headers=headers_shown(record.headers),
        message=printable(record.headers.get(MESSAGE, b"")),
        show_origin=show,
        trail=_trail(letter, settled, letters),
    )


def _trail(letter: Letter, settled: Settled | None, letters: Sequence[Letter]) -> list[Happening]:
    """The history of the letter and of other letters of the same record."""
    happened = [Happening(at=letter.at, what="failed")]
    if settled is not None:
        happened.append(
            Happening(
                at=settled.settled_at,
                what=settled.outcome,
                by=settled.settled_by,
                operation=settled.operation_id,
                reason=settled.reason,
            )
        )
    for other in letters:
        if letter.origin is not None and other.origin == letter.origin and other.place != letter.place:
            what = "failed before" if order(other) < order(letter) else "failed again"
            happened.append(Happening(at=other.at, what=what, dead_letter=str(other.place)))
    return sorted(happened, key=lambda each: each.at)


def _cursor(letter: Letter) -> str:
    return f"{letter.at_ms}-{letter.place.partition}-{letter.place.offset}"
