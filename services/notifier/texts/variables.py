"""The variables of templates by kind of finding, and made-up samples of them.

findings/variables.py computes those of events, alerts/variables.py those of alerts. docs/notifications.md has a table
of them, which a test compares. A template is checked against the first sample of its kind, in which everything is
known. The other samples have an unknown (None) or an empty list wherever these are possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import NamedTuple

from services.notifier.kinds import PIPELINE_KINDS
from services.notifier.texts.message import RenderedText

_DAY, _START = date(2026, 1, 31), datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
_NAMES = ("Ada Ashby", "Ben Brook", "Cy Creek")


class Variable(NamedTuple):
    """`sample` is a value with everything known; `sparse` is one with as little known as possible."""

    name: str
    meaning: str
    sample: object
    sparse: object


def _same(name: str, meaning: str, sample: object) -> Variable:
    return Variable(name, meaning, sample, sample)


_SESSION = (
    _same("source", "name of the source", "boatrace"),
    Variable("venue_name", "name of the venue, or `venue NUMBER`", "Weir", "venue 7"),
    _same("venue", "number of the venue", 7),
    _same("date", "day of the event", _DAY),
    Variable("title", "title of the session; can be unknown", "Spring Cup", None),
    Variable("grade", "grade of the session; can be unknown", 1, None),
)
_EVENT = (
    _same(
        "event",
        "venue, day, number and start in one text",
        RenderedText("Weir 2026-01-31, event 12, start 2026-01-31 03:00 UTC"),
    ),
    _same("event_key", "key of the event", "boatrace:2026-01-31:07:12"),
    _same("number", "number of the event in its session", 12),
    Variable("start", "start of the event; can be unknown", _START, None),
    *_SESSION,
)
_ENTRY = (
    Variable("entry", "slot and name in one text", RenderedText("2 Ben Brook"), RenderedText("slot 2")),
    _same("slot", "slot of the entry", 2),
    Variable("name", "name of the entity; can be unknown", "Ben Brook", None),
)
_RESULT = (
    Variable(
        "result",
        "first three places in one text; can be unknown",
        RenderedText("1. 2 Ben Brook, 2. 1 Ada Ashby, 3. 3 Cy Creek"),
        None,
    ),
    Variable(
        "places",
        "list of the places: `place`, `slot`, `name`, `entry`",
        tuple(
            {
                "place": place,
                "slot": slot,
                "name": _NAMES[slot - 1],
                "entry": RenderedText(f"{slot} {_NAMES[slot - 1]}"),
            }
            for place, slot in ((1, 2), (2, 1), (3, 3))
        ),
        (),
    ),
)
_ALERT = (
    _same("title", "what is wrong, in a few words", "Stage down"),
    _same("subject", "service, topic, model or day that it concerns", "cleaner"),
    _same("summary", "what is wrong, in figures; one or more lines", RenderedText("0 of 1 replicas work.")),
    _same("meaning", "what that means for the pipeline", RenderedText("Nothing is lost.")),
    _same("commands", "list of the commands that help", (RenderedText("headrace status"),)),
    _same("runbook", "where the runbook is", RenderedText("docs/runbooks.md#targetdown")),
    _same("severity", "`critical` or `warning`", "critical"),
    Variable("state", "`open`, `acknowledged` or `resolved`", "resolved", "open"),
    _same("is_second", "whether it is the second message, which gives the end where messages are not edited", False),
    _same("incident", "number of the incident", 12),
    _same("opened_at", "time at which it was noticed", _START),
    Variable("acknowledged_at", "time of the acknowledgement; can be unknown", _START, None),
    Variable("acknowledged_by", "who acknowledged it; can be unknown", "discord:42 (Ada)", None),
    Variable("resolved_at", "time at which it ended; can be unknown", _START, None),
    Variable("duration", "time from the opening to the end, such as `12 min`; can be unknown", "12 min", None),
)
_STATUSES = ({"status": "cancelled", "count": 1}, {"status": "settled", "count": 23})
_PAYOUTS = ({"event": "Weir 4", "market": "trifecta", "selection": "2-1-3", "amount": 123_450},)
_VARIABLES: dict[str, tuple[Variable, ...]] = {
    "tip": (
        *_EVENT,
        *_ENTRY,
        _same("probability", "win probability of the entry, from 0 to 1", 0.83),
        _same("model", "version of the model", "20260130-1"),
        _same("state", "`card` or `observation`: what was known of the event", "observation"),
    ),
    "big-payout": (
        *_EVENT,
        _same("market", "market of the payout", "trifecta"),
        _same("selection", "selection that was paid", "2-1-3"),
        _same("amount", "payout per 100 staked", 123_450),
        *_RESULT,
    ),
    "grade": (*_EVENT, *_RESULT),
    "surprise": (
        *_EVENT,
        *_ENTRY,
        _same("probability", "win probability of the winner in the last prediction, from 0 to 1", 0.031),
        *_RESULT,
    ),
    "called-off": (
        _same("session", "venue and day in one text", RenderedText("Weir 2026-01-31")),
        _same("session_key", "key of the session", "boatrace:2026-01-31:07"),
        *_SESSION,
        _same("events", "number of events of the session", 12),
        _same("numbers", "list of the numbers of the events that will not take place", (11, 12)),
    ),
    "daily": (
        _same("source", "name of the source", "boatrace"),
        _same("date", "the day", _DAY),
        _same("events", "number of events", 24),
        _same("statuses", "list of the events by status: `status`, `count`", _STATUSES),
        Variable("payouts", "list of the highest payouts: `event`, `market`, `selection`, `amount`", _PAYOUTS, ()),
        Variable("scored_events", "number of events whose prediction could be scored", 20, 0),
        Variable("log_loss", "mean log loss of the predictions in nats; can be unknown", 1.2345, None),
        Variable("base_log_loss", "that of the base rates on the same events; can be unknown", 1.5678, None),
        Variable("base_events", "number of earlier events from which the base rates are", 4_000, 0),
    ),
    **dict.fromkeys(sorted(PIPELINE_KINDS), _ALERT),
}  # fmt: skip
VARIABLES: Mapping[str, Sequence[Variable]] = MappingProxyType(_VARIABLES)
"""By kind of finding."""


def samples_of(kind: str) -> list[dict[str, object]]:
    """The samples with which templates for this kind are checked. An alert has one for each of its messages."""
    variables = VARIABLES[kind]
    known, sparse = ({each.name: each.sample for each in variables}, {each.name: each.sparse for each in variables})
    if kind not in PIPELINE_KINDS:
        return [known, sparse]
    acknowledged = {**known, "state": "acknowledged", "resolved_at": None, "duration": None}
    return [known, sparse, acknowledged, {**known, "is_second": True}]
