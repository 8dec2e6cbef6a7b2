"""Turns a replay request into a plan of offset ranges in the current log. Reads only.

If offsets alone decide what is selected and the log has no gaps (the embedded log), records are counted by arithmetic.
Otherwise the records in the window are read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from shared.broker.contract import Broker, Record, TopicPartition
from shared.broker.counting.read_range import RecordsRemoved, read_range, require_available
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.replays import KINDS, OffsetSpan, RecordPointer, ReplayPlan, ReplayRequest, kind_of, selector_of
from shared.topics import RETRY_TOPICS

# No record is older. Kafka reads negative timestamps as special requests (latest, earliest).
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Spans = Mapping[TopicPartition, OffsetSpan]


def plan_replay(broker: Broker, request: ReplayRequest, reads: Collection[str]) -> ReplayPlan:
    """Plans a replay. `reads`: the topics that the service can replay.

    Raises ConfigError for an invalid request, and NotPossible if retention has removed requested offsets.
    """
    replayable = sorted(set(reads) - set(RETRY_TOPICS))
    if request.topic not in replayable:
        raise ConfigError(
            f"topic {request.topic!r} is not read by this service"
            + (f": expected one of {', '.join(replayable)}" if replayable else "; it has nothing to replay")
        )
    spans = _spans(broker, request)
    if broker.gapless and not request.reads_records:
        return _plan_by_offsets(broker, request, spans)
    return _plan_by_reading(broker, request, spans)


def require_plan_available(broker: Broker, plan: ReplayPlan) -> None:
    """Raises NotPossible if retention has removed offsets of the plan."""
    spans = {TopicPartition(plan.request.topic, p): span.begin for p, span in plan.spans.items()}
    try:
        require_available(broker, spans)
    except RecordsRemoved as cut:
        raise NotPossible(f"this plan can no longer be executed: {cut}. Make a new plan") from cut


def _spans(broker: Broker, request: ReplayRequest) -> dict[TopicPartition, OffsetSpan]:
    """The offsets of the window, for each partition that can hold selected records; empty ranges are left out."""
    tps = broker.partitions(request.topic)
    if request.offsets is not None and (highest := max(request.offsets)) >= len(tps):
        raise ConfigError(f"{request.topic} has partitions 0 to {len(tps) - 1}, not {highest}")
    wanted = request.partitions(len(tps)) & frozenset(request.offsets or range(len(tps)))
    tps = [tp for tp in tps if tp.partition in wanted]
    begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
    if request.time == "record" and request.by_time:
        begins, ends = _by_time(broker, request, tps, begins, ends)
    else:
        begins, ends = _by_offset(request, tps, begins, ends)
    return {tp: OffsetSpan(begins[tp], ends[tp]) for tp in tps if begins[tp] < ends[tp]}


Offsets = dict[TopicPartition, int]


def _by_time(
    broker: Broker, request: ReplayRequest, tps: list[TopicPartition], begins: Offsets, ends: Offsets
) -> tuple[Offsets, Offsets]:
    if request.since is not None:
        offsets = broker.offsets_for_times(tps, max(request.since, _EPOCH))
        begins = {tp: max(begins[tp], offsets[tp]) for tp in tps}
    if request.until is not None:
        offsets = broker.offsets_for_times(tps, max(request.until, _EPOCH))
        ends = {tp: min(ends[tp], offsets[tp]) for tp in tps}
    return begins, ends


def _by_offset(
    request: ReplayRequest, tps: list[TopicPartition], begins: Offsets, ends: Offsets
) -> tuple[Offsets, Offsets]:
    """Offsets that the request names must exist, so a request outside the log is refused, never shortened."""
    removed, wanted_begins, wanted_ends = [], dict(begins), dict(ends)
    for tp in tps:
        window = None if request.offsets is None else request.offsets[tp.partition]
        begin = request.begin if window is None else window.begin
        end = request.end if window is None else window.end
        if window is not None and end is not None and end > ends[tp]:
            raise ConfigError(f"{tp.topic}/{tp.partition} ends at {ends[tp]}, before {end}")
        if window is not None and begin is not None and begin > ends[tp]:
            raise ConfigError(f"{tp.topic}/{tp.partition} ends at {ends[tp]}, before {begin}")
        if begin is not None and begin < begins[tp] and (end is None or begin < end):
            removed.append(f"{tp.topic}/{tp.partition}: {begins[tp]}")
        wanted_begins[tp] = max(begins[tp], begin or 0)
        wanted_ends[tp] = min(ends[tp], ends[tp] if end is None else end)
    if removed and not _is_all(request):
        raise NotPossible(
            f"retention has removed requested records; the earliest available offsets: {', '.join(removed)}"
        )
    return wanted_begins, wanted_ends


def _is_all(request: ReplayRequest) -> bool:
    """Tells whether the request begins at offset 0 in every partition, which selects all records still available."""
    return request.begin == 0 and request.offsets is None


def _plan_by_offsets(broker: Broker, request: ReplayRequest, spans: Spans) -> ReplayPlan:
    """Counts by arithmetic; reads only the first and last record of each partition."""
    firsts = [_record_at(broker, tp, span.begin) for tp, span in sorted(spans.items())]
    lasts = [_record_at(broker, tp, span.end - 1) for tp, span in sorted(spans.items())]
    return ReplayPlan(
        request,
        {tp.partition: span for tp, span in spans.items()},
        {tp.partition: span.end - span.begin for tp, span in spans.items()},
        _pointer_to(min(firsts, key=_order, default=None)),
        _pointer_to(max(lasts, key=_order, default=None)),
    )


def _plan_by_reading(broker: Broker, request: ReplayRequest, spans: Spans) -> ReplayPlan:
    """Reads every record of the ranges, counts the selected ones, and narrows each range to them."""
    wanted = selector_of(request)
    counts: Counter[int] = Counter()
    first: dict[int, Record] = {}
    last: dict[int, Record] = {}
    kinds: set[str | None] = set()
    for batch in read_range(broker, spans):
        if request.kinds and request.topic not in KINDS:
            kinds |= {kind_of(record) for record in batch}
        for record in filter(wanted, batch):
            counts[record.partition] += 1
            first.setdefault(record.partition, record)
            last[record.partition] = record
    if kinds and (unknown := sorted(set(request.kinds or ()) - kinds)):
        available = ", ".join(sorted(kind for kind in kinds if kind is not None)) or "none"
        raise ConfigError(f"no record of this window is of kind {unknown[0]!r}; found kinds: {available}")
    return ReplayPlan(
        request,
        {p: OffsetSpan(first[p].offset, last[p].offset + 1) for p in counts},
        dict(counts),
        _pointer_to(min(first.values(), key=_order, default=None)),
        _pointer_to(max(last.values(), key=_order, default=None)),
    )


def _record_at(broker: Broker, tp: TopicPartition, offset: int) -> Record:
    for batch in read_range(broker, {tp: (offset, offset + 1)}):
        for record in batch:
            return record
    raise NotPossible(f"retention has just removed {tp.topic}/{tp.partition} offset {offset}; make a new plan")


def _order(record: Record) -> tuple[int, int, int]:
    return record.timestamp_ms, record.partition, record.offset


def _pointer_to(record: Record | None) -> RecordPointer | None:
    if record is None:
        return None
    appended_at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    return RecordPointer(record.place, record.key.decode(errors="replace"), appended_at.isoformat())
