"""Decodes and handles a batch; if it fails, finds the failing records by bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.broker.contract import NewRecord, Record
from shared.errors import BrokerError, ConfigError, InvalidEvent, TransientError
from shared.records import Received, decode
from shared.runtime.dead_letters.letter import Failed

# A record that fails alone is tried this often in all, because the failure may have been accidental.
TRIES = 3
# Errors that no single record causes: the unit fails as a whole.
NOT_THE_RECORDS = (TransientError, BrokerError, ConfigError)

Attempt = Callable[[Sequence[Received]], Sequence[NewRecord]]
"""Handles a whole batch. If it raises, its effects are undone."""


@dataclass
class Worked:
    """The result of a batch: its outputs in order, and the records that could not be handled."""

    outputs: list[NewRecord] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


def work(records: Sequence[Record], attempt: Attempt, note: Callable[[Failed], None] = lambda _: None) -> Worked:
    """Handle all records that can be handled. `on_failure` is called with each failed record, in order within each
    partition. Propagates what `on_failure` raises, and UNIT_ERRORS."""
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
    except Exception as error:  # noqa: BLE001  # a bug may raise anything; one record must not block the others
        return error
