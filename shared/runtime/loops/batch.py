"""Decodes and handles a batch; if it fails, finds the failing records by bisection."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.broker.contract import NewRecord, Record
from shared.errors import BrokerError, ConfigError, InvalidEvent, TransientError
from shared.records import DecodedRecord, decode
from shared.runtime.dead_letters.letter import FailedRecord

# A record that fails alone is tried this often in all, because the failure may have been accidental.
MAX_TRIES = 3
# Errors that no single record causes: the unit fails as a whole.
UNIT_ERRORS = (TransientError, BrokerError, ConfigError)
# The process or its machine has run out of a resource; the record is not the cause. (errno of an OSError.)
_EXHAUSTED = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
})  # fmt: skip

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
    except Exception as error:  # a bug may raise anything; one record must not block the others
        if _is_exhaustion(error, alone=len(batch) == 1):
            place = batch[0].record.place
            raise TransientError(f"out of resources at {place}: {type(error).__name__}: {error}") from error
        return error


def _is_exhaustion(error: Exception, *, alone: bool) -> bool:
    """Whether the process is out of memory, disk or files. `alone`: a larger batch that needs too much memory is
    halved first."""
    if isinstance(error, MemoryError):
        return alone
    return isinstance(error, OSError) and error.errno in _EXHAUSTED
