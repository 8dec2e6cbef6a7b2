"""Working through a batch: decode, handle, and where something is wrong, find out which record it is. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.broker.contract import NewRecord, Record
from shared.errors import BrokerError, ConfigError, InvalidEvent, TransientError
from shared.records import Received, decode

Attempt = Callable[[Sequence[Received]], Sequence[NewRecord]]
"""Handles a batch as a whole or not at all: what it did is undone when it raises."""


@dataclass
class Worked:
    """What came of a batch: outputs in order, and the records that could not be handled, each with its error."""

    outputs: list[NewRecord] = field(default_factory=list)
    failed: list[tuple[Record, Exception]] = field(default_factory=list)


def work(records: Sequence[Record], attempt: Attempt) -> Worked:
    """Handle what can be handled. What is not the records' fault goes through: TransientError, BrokerError,
    ConfigError."""
    worked = Worked()
    batch: list[Received] = []
    for record in records:
        try:
            batch.append(decode(record))
        except InvalidEvent as error:
            worked.failed.append((record, error))
    _bisect(batch, attempt, worked)
    return worked


def _bisect(batch: Sequence[Received], attempt: Attempt, worked: Worked) -> None:
    if not batch:
        return
    try:
        worked.outputs.extend(attempt(batch))
    except (TransientError, BrokerError, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001  # a handler's bug may raise anything; one record must not stop the rest
        if len(batch) == 1:
            worked.failed.append((batch[0].record, error))
            return
        middle = len(batch) // 2
        _bisect(batch[:middle], attempt, worked)
        _bisect(batch[middle:], attempt, worked)
