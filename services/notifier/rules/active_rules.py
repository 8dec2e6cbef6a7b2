"""Holds the current rules, and loads them again when their file has changed.

An invalid file changes nothing: the rules before stay in use, and the status has the error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from services.notifier.disposition import Disposition, Mutes
from services.notifier.kinds import FindingKind
from services.notifier.pacing import RateLimit
from services.notifier.rules.file import RuleSource, read_rules
from services.notifier.rules.rule_book import DEFAULT_THRESHOLDS, RuleBook
from services.notifier.rules.validation import CanSend, can_send_everywhere
from shared.errors import ConfigError

# A change is seen within 5 s. The file is small, so it is read whole: its time may have a coarse resolution.
INTERVAL_S = 2.0

log = structlog.get_logger("notifier.rules")


class RulesStatus(NamedTuple):
    """`file` is None for the shipped rules. `error` is that of the file as it is now; None if it is in use."""

    file: Path | None
    digest: str
    loaded_at: datetime
    error: str | None = None
    failed_at: datetime | None = None


class ActiveRules:
    """For several threads. `now` returns real time. The sender uses this as its DeliveryRules."""

    def __init__(
        self,
        file: Path | None,
        now: Callable[[], datetime],
        thresholds: Mapping[FindingKind, float] = DEFAULT_THRESHOLDS,
        on_load: Callable[[RuleBook | None], None] = lambda _: None,
        can_send: CanSend = can_send_everywhere,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Load the file, or the shipped rules. `thresholds`: those of rules that give none.

        `on_load` is called with the rules after each load, with None after a failed one. Raises ConfigError.
        """
        self._file = file
        self._now = now
        self._thresholds = {**DEFAULT_THRESHOLDS, **thresholds}
        self._on_load = on_load
        self._can_send = can_send
        self._interval_s = interval_s
        self._lock = threading.Lock()
        source = read_rules(file)
        self._seen: RuleSource | str = source
        self._book = RuleBook(source.parse(can_send), self._thresholds)
        self._status = RulesStatus(file, source.digest, now())
        on_load(self._book)

    def book(self) -> RuleBook:
        """The current rules."""
        return self._book

    def names(self) -> list[str]:
        """The names of the current rules."""
        return [each.name for each in self._book.rules]

    def status(self) -> RulesStatus:
        return self._status

    def disposition(self, rule: str, address: str, created_at: datetime, now: datetime, mutes: Mutes) -> Disposition:
        """As RuleBook.disposition, by the current rules."""
        return self._book.disposition(rule, address, created_at, now, mutes)

    def pace(self, address: str) -> RateLimit | None:
        return self._book.pace(address)

    def recipients(self, name: str) -> Sequence[str]:
        return self._book.recipients(name)

    def alerts(self) -> frozenset[str]:
        return self._book.alerts()

    def run(self, stop: threading.Event) -> None:
        """Look at the file every few seconds until `stop` is set."""
        while not stop.wait(self._interval_s):
            self.refresh()

    def refresh(self) -> None:
        """Load the file if it has changed since the last attempt."""
        with self._lock:
            if (content := self._read()) != self._seen:
                self._load(content)

    def reload(self) -> None:
        """Load the file, even if it has not changed. Raises ConfigError if it is not valid."""
        with self._lock:
            self._load(self._read())
            if self._status.error is not None:
                raise ConfigError(self._status.error)

    def _read(self) -> RuleSource | str:
        """The content of the file, or the error if it cannot be read."""
        try:
            return read_rules(self._file)
        except ConfigError as error:
            return str(error)

    def _load(self, content: RuleSource | str) -> None:
        self._seen = content
        if isinstance(content, str):
            self._refuse(content)
            return
        try:
            book = RuleBook(content.parse(self._can_send), self._thresholds)
        except ConfigError as error:
            self._refuse(str(error))
            return
        self._book = book
        self._status = RulesStatus(self._file, content.digest, self._now())
        log.info("rules_loaded", file=str(self._file), rules=len(book.rules))
        self._on_load(book)

    def _refuse(self, error: str) -> None:
        self._status = self._status._replace(error=error, failed_at=self._now())
        log.warning("rules_refused", file=str(self._file), error=error)
        self._on_load(None)
