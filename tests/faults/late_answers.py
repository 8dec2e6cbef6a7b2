"""Messages that a sender sent again because no answer came in time: a receiver ignores the second one by its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import orjson

_EVENT, _NO_ANSWER = "notification_retried", "gave no answer"


def answered_late(logs: Iterable[Path]) -> Counter[tuple[str, str]]:
    """How often, by key of the event and rule, from the logs of notifiers."""
    found: Counter[tuple[str, str]] = Counter()
    for log in logs:
        for line in log.read_bytes().splitlines():
            if _EVENT.encode() in line and _NO_ANSWER.encode() in line:
                entry = orjson.loads(line)
                found[entry["event_key"], entry["rule"]] += 1
    return found
