"""What comes of rows: whether all that had to go further did. Its sums stand beside those of what was fetched."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from headrace.audit.accounting import Finding
from headrace.audit.evidence import Gathering, Positions
from headrace.audit.topic_reading import Held, Holding, TopicReading
from shared.broker.contract import Record, TopicPartition
from shared.topics import CLEAN, LOADED, PREDICTIONS


@dataclass
class Hop:
    """What should have got from one place to another beyond the rows, and did. Sums to `expected`."""

    expected: int = 0
    arrived: int = 0
    in_flight: int = 0
    dead: int = 0
    missing: int = 0


@dataclass
class Downstream:
    hops: dict[str, Hop] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class _Prediction(msgspec.Struct):
    inputs: tuple[str, ...] = ()


_PREDICTION = msgspec.json.Decoder(_Prediction)


def look_downstream(
    gathering: Gathering,
    reading: TopicReading,
    waiting: Mapping[str, Iterable[Record]],
    keys: Container[str] | None,
) -> tuple[dict[str, Hop], list[Finding]]:
    """From the rows to loaded-events, from predictions and dead letters to their rows. `waiting`: in the outbox;
    `keys`: of these events only."""
    found = Downstream()

    def wanted(record: Record) -> bool:
        key = record.key.decode(errors="replace")
        return gathering.window.has_key(key) and (keys is None or key in keys)

    loaded = gathering.holdings[LOADED] = Holding(LOADED)
    for _ in loaded.fill(reading, wanted):
        pass
    on_its_way = Holding(LOADED)
    for record in waiting.get(LOADED, ()):
        on_its_way.take(record, record.headers.get("event_id", b"").decode())
    _count_told(gathering, on_its_way, keys, found)
    predicted = gathering.holdings[PREDICTIONS] = Holding(PREDICTIONS)
    names = {event_id: record.key.decode() for record, event_id, _ in predicted.fill(reading, wanted, _inputs)}
    stored = {key: k for key, k in gathering.tables.predictions.items() if keys is None or k in keys}
    _count_predicted(gathering, names, stored, found)
    _count_buried(gathering, keys, found)
    return found.hops, found.findings


def _count_told(gathering: Gathering, on_its_way: Holding, keys: Container[str] | None, found: Downstream) -> None:
    hop = found.hops[f"facts -> {LOADED}"] = Hop()
    loaded, cleaned = gathering.holdings[LOADED], gathering.holdings[CLEAN].first
    for event_id, key, revision in gathering.tables.told:
        if keys is not None and key not in keys:
            continue
        came = cleaned[event_id].at_ms if event_id in cleaned else None
        if (event_id, revision) in loaded.revisions:
            hop.arrived += 1
        elif (event_id, revision) in on_its_way.revisions:
            hop.in_flight += 1
        elif gathering.is_due(LOADED, key, came):
            hop.missing += 1
            found.findings.append(Finding("missing", event_id, f"facts -> {LOADED}", key=key))
        else:
            continue
        hop.expected += 1


def _count_buried(gathering: Gathering, keys: Container[str] | None, found: Downstream) -> None:
    """Dead letters become rows of their own, so that people see them."""
    hop, done = found.hops.setdefault("dead letters -> facts", Hop()), gathering.done["loader"]
    for (topic, held), (event_id, key) in gathering.letters.items():
        if not gathering.window.has_key(key) or (keys is not None and key not in keys):
            continue
        hop.expected += 1
        if held.place(topic) in gathering.tables.buried:
            hop.arrived += 1
        elif held.offset >= done.get(TopicPartition(topic, held.partition), 0):
            hop.in_flight += 1
        else:
            hop.missing += 1
            where = f"{topic} -> facts.dead_letters"
            found.findings.append(Finding("missing", event_id, where, held.place(topic), key))


def _count_predicted(
    gathering: Gathering, names: Mapping[str, str], stored: Mapping[str, str], found: Downstream
) -> None:
    hop = found.hops[f"{PREDICTIONS} -> facts"] = Hop()
    first, done = gathering.holdings[PREDICTIONS].first, gathering.done["loader"]
    for event_id in {**names, **stored}:
        hop.expected += 1
        held = first.get(event_id)
        if held is None and gathering.is_due(PREDICTIONS, stored[event_id], None):
            hop.missing += 1
            where, key = f"predictor -> {PREDICTIONS}", stored[event_id]
            found.findings.append(Finding("missing", event_id, where, "although its row is there", key))
        elif event_id in stored:
            hop.arrived += 1
        elif event_id in gathering.retrying or (held is not None and held.offset >= _position(done, held)):
            hop.in_flight += 1
        elif any(death.service == "loader" for death in gathering.dead.get(event_id, ())):
            hop.dead += 1
        else:
            hop.missing += 1
            place = held.place(PREDICTIONS) if held else ""
            found.findings.append(
                Finding("missing", event_id, f"{PREDICTIONS} -> facts", place, names.get(event_id, ""))
            )


def _position(done: Positions, held: Held) -> int:
    return done.get(TopicPartition(PREDICTIONS, held.partition), 0)


def _inputs(record: Record) -> str:
    """The same prediction may follow from two records: then it is told for each."""
    try:
        return "/".join(_PREDICTION.decode(record.value).inputs)
    except msgspec.DecodeError:
        return ""
