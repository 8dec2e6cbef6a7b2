"""Computes what was known of an event at an instant, from its stored versions.

The result is that of a loader with an as-of limit (load.py) that receives the event's records in the order of arrival,
cards first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.loader.apply import accept
from services.loader.fact_tree import FactEvent
from services.loader.fold import FactVersion, FoldedFact, fold
from services.loader.rows import known_at_of, status_with
from shared.events import Listed, Withdrawal


class StoredVersion(NamedTuple):
    """A row of facts.versions. `number` counts the event's versions of this kind in the order of arrival."""

    kind: str
    number: int
    revision: str
    record_id: UUID
    fact: FactEvent | Withdrawal


class KnownEvent(NamedTuple):
    """A listed event at an instant. By kind of fact: `facts`: the fold; `versions`: its versions, by arrival; `counts`:
    how many versions a loader would have stored, with those replaced since."""

    event_key: str
    status: str
    facts: dict[str, FoldedFact]
    versions: dict[str, list[FactVersion]]
    counts: dict[str, int]

    @property
    def version(self) -> int:
        return sum(self.counts.values())


def known_event(
    event_key: str, stored: Iterable[StoredVersion], instant: datetime | None, *, unlisted: bool = False
) -> KnownEvent | None:
    """None if the event was not listed yet: its other facts are then parked, and no rows. `instant` None: everything.

    `unlisted`: also an event whose cards were all withdrawn.

    A fact without `known_at` is dated by the schedule that was known at the instant.
    """
    by_kind: dict[str, list[StoredVersion]] = {}
    for version in sorted(stored, key=lambda version: version.number):
        by_kind.setdefault(version.kind, []).append(version)
    facts: dict[str, FoldedFact] = {}
    versions: dict[str, list[FactVersion]] = {}
    counts: dict[str, int] = {}
    status, scheduled_at = "listed", None
    for kind in ("listed", "observed", "settled"):
        accepted, counts[kind] = _accepted(by_kind.get(kind, ()), scheduled_at, instant)
        if accepted:
            versions[kind], facts[kind] = accepted, fold(accepted)
            status = status_with(status, facts[kind].fact)
        if kind == "listed":
            if not accepted and not unlisted:
                return None
            scheduled_at = _schedule(facts[kind].fact) if accepted else None
    return KnownEvent(event_key, status, facts, versions, counts)


def _accepted(
    stored: Sequence[StoredVersion], scheduled_at: datetime | None, instant: datetime | None
) -> tuple[list[FactVersion], int]:
    """The versions known at the instant, and how many a loader would have stored, with those replaced since."""
    accepted: list[FactVersion] = []
    count = 0
    for _, _, revision, record_id, fact in stored:
        if isinstance(fact, Withdrawal):  # as a replaced version: at every instant
            count += instant is None or any(version.record_id == record_id for version in accepted)
            accepted = [version for version in accepted if version.record_id != record_id]
            continue
        known_at = known_at_of(fact, scheduled_at)
        if instant is not None and known_at > instant:
            continue
        versions = accept(accepted, FactVersion(known_at, revision, record_id, fact))
        if versions is not None:
            accepted, count = versions, count + 1
    return accepted, count


def _schedule(fact: FactEvent) -> datetime | None:
    return fact.scheduled_at if isinstance(fact, Listed) else None
