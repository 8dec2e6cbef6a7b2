"""Decodes and handles a batch; if it fails, finds the failing records by bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.broker.contract import NewRecord, Record
from shared.errors import BrokerError, ConfigError, InvalidEvent, TransientError
from shared.records import DecodedRecord, decode
from shared.runtime.dead_letters.letter import FailedRecord
from shared.runtime.loops.trouble import raise_trouble

# A record that fails alone is tried this often in all, because the failure may have been accidental.
MAX_TRIES = 3
# Errors that no single record causes: the unit fails as a whole.
UNIT_ERRORS = (TransientError, BrokerError, ConfigError)

HandleBatch = Callable[[Sequence[DecodedRecord]], Sequence[NewRecord]]
"""Handles a whole batch. If it raises, its effects are undone."""


@dataclass
class BatchResult:
    """The result of a batch: its outputs in order, and the records that could not be handled."""

    outputs: list[NewRecord] = field(default_factory=list)
    failures: list[FailedRecord] = field(default_factory=list)


def process_batch(
    records: Sequence[Record],
    attempt: HandleBatch,
    on_failure: Callable[[FailedRecord], None] = lambda _: None,
    quarantined: Sequence[FailedRecord] = (),
) -> BatchResult:
    """Handle all records that can be handled. `on_failure` is called with each failed record, in order within each
    partition. `quarantined` failed before; each is the first record of its partition. Propagates what `on_failure`
    raises, and UNIT_ERRORS."""
    result = BatchResult()
    for failed in quarantined:
        result.failures.append(failed)
        on_failure(failed)
    skipped = {failed.record.place for failed in quarantined}
    batch: list[DecodedRecord] = []
    for record in records:
        if skipped and record.place in skipped:
            continue
        try:
            batch.append(decode(record))
        except InvalidEvent as error:
            result.failures.append(FailedRecord(record, error, "decode", 1))
            on_failure(result.failures[-1])
    if batch:
        _bisect(batch, attempt, result, on_failure)
    return result


def _bisect(
    batch: Sequence[DecodedRecord],
    attempt: HandleBatch,
    result: BatchResult,
    on_failure: Callable[[FailedRecord], None],
) -> None:
    outcome = _attempt(batch, attempt)
    if isinstance(outcome, Exception) and len(batch) > 1:
        middle = len(batch) // 2
        _bisect(batch[:middle], attempt, result, on_failure)
        _bisect(batch[middle:], attempt, result, on_failure)
        return
    tries = 1
    while isinstance(outcome, Exception) and not isinstance(outcome, InvalidEvent) and tries < MAX_TRIES:
        outcome = _attempt(batch, attempt)
        tries += 1
    if isinstance(outcome, Exception):
        result.failures.append(FailedRecord(batch[0].record, outcome, "handle", tries))
        on_failure(result.failures[-1])
    else:
        result.outputs.extend(outcome)


def _attempt(batch: Sequence[DecodedRecord], attempt: HandleBatch) -> Sequence[NewRecord] | Exception:
    try:
        return attempt(batch)
    except UNIT_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001  # a bug may raise anything; one record must not block the others
        if not (isinstance(error, MemoryError) and len(batch) > 1):  # half of the records may need little enough
            raise_trouble(error, batch[0].record.place)
        return error
