"""Working through a batch: decode, handle, and where something is wrong, find out which record it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.broker.contract import NewRecord, Record
from shared.errors import BrokerError, ConfigError, InvalidEvent, TransientError
from shared.records import Received, decode
from shared.runtime.dead_letters.letter import Failed

# A record that is alone to blame is tried so often in all: what it met may have been chance.
TRIES = 3
# Whatever the record is: the unit fails as a whole.
NOT_THE_RECORDS = (TransientError, BrokerError, ConfigError)

Attempt = Callable[[Sequence[Received]], Sequence[NewRecord]]
"""Handles a batch as a whole or not at all: what it did is undone when it raises."""


@dataclass
class Worked:
    """What came of a batch: outputs in order, and the records that could not be handled."""

    outputs: list[NewRecord] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


def work(records: Sequence[Record], attempt: Attempt, note: Callable[[Failed], None] = lambda _: None) -> Worked:
    """Handle what can be handled. `note` is told of each failed record when it is found, each partition's in order;
    what it raises goes through, and so does what is not the records' fault: NOT_THE_RECORDS."""
    worked = Worked()
    batch: list[Received] = []
    for record in records:
        try:
            batch.append(decode(record))
        except InvalidEvent as error:
            worked.failed.append(Failed(record, error, "decode", 1))
            note(worked.failed[-1])
    if batch:
        _bisect(batch, attempt, worked, note)
    return worked


def _bisect(batch: Sequence[Received], attempt: Attempt, worked: Worked, note: Callable[[Failed], None]) -> None:
    outcome = _try(batch, attempt)
    if isinstance(outcome, Exception) and len(batch) > 1:
        middle = len(batch) // 2
        _bisect(batch[:middle], attempt, worked, note)
        _bisect(batch[middle:], attempt, worked, note)
        return
    tries = 1
    while isinstance(outcome, Exception) and not isinstance(outcome, InvalidEvent) and tries < TRIES:
        outcome = _try(batch, attempt)
        tries += 1
    if isinstance(outcome, Exception):
        worked.failed.append(Failed(batch[0].record, outcome, "handle", tries))
        note(worked.failed[-1])
    else:
        worked.outputs.extend(outcome)


def _try(batch: Sequence[Received], attempt: Attempt) -> Sequence[NewRecord] | Exception:
    try:
        return attempt(batch)
    except NOT_THE_RECORDS:
        raise
    except Exception as error:  # noqa: BLE001  # a handler's bug may raise anything; one record must not stop the rest
        return error
