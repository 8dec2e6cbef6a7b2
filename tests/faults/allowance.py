"""What the faults of a run may change. Everything else that differs from the reference run is a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Allowance:
    """Grows with each fault of a run.

    `repeats`: for each topic, how often more than once a record may be there. `received_again`: the same for messages,
    by their ids; `answered_late`: the same for messages whose answer did not arrive in time, by key of the event and
    rule. `undecided`: how many senders may leave notifications without a decision, because they were killed or
    the ledger went back. `unnotified`: event keys of the records that were gone before the notifier read them,
    which were counted and which a person accepted.
    """

    repeats: Counter[str] = field(default_factory=Counter)
    received_again: Counter[str] = field(default_factory=Counter)
    answered_late: Counter[tuple[str, str]] = field(default_factory=Counter)
    undecided: int = 0
    unnotified: set[str] = field(default_factory=set)

    def may_be_unnotified(self, subject: str) -> bool:
        """Whether a notification may be missing because of a lost record. `subject`: the key of an event, or of a
        session or day, with which the keys of its events begin."""
        return any(key == subject or key.startswith(f"{subject}:") for key in self.unnotified)

    def senders_ended(self, cut_short: Mapping[str, int]) -> None:
        """`cut_short`: how often each replica did not end in order. Each notifier has one sender."""
        self.undecided += sum(times for replica, times in cut_short.items() if replica.startswith("notifier"))

    def went_back(self, received_then: Counter[str], received_now: Counter[str], senders: int) -> None:
        """The ledger went back to a time at which `received_then` had arrived: what arrived since may arrive again.
        Each sender may have had one message in hand."""
        self.received_again.update((received_now - received_then).keys())
        self.undecided += senders
