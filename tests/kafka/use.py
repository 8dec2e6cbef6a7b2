"""The Kafka that tests use: the session's own, or one that somebody gave."""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.kafka.server import KafkaServer


class KafkaInUse(NamedTuple):
    bootstrap: str
    server: KafkaServer | None = None

    def own(self) -> KafkaServer:
        """For tests that stop it or cut its lines: those are skipped on a broker that was given."""
        if self.server is None:
            pytest.skip("HEADRACE_KAFKA names a broker that tests must not harm: unset it to have one started")
        return self.server

    @contextmanager
    def empty(self) -> Iterator[None]:
        """Without topics that a test makes: they are deleted after it, and no others are.

        Making and deleting the contract suite's four takes 70 ms. Several workers may have got the same broker: one
        at a time.
        """
        name = hashlib.sha256(self.bootstrap.encode()).hexdigest()[:16]
        with (Path(tempfile.gettempdir()) / f"headrace-kafka-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._topics()
            try:
                yield
            finally:
                self._topics(keep=before)

    def _topics(self, keep: set[str] | None = None) -> set[str]:
        """Their names, as soon as the broker answers. With `keep`, all others are deleted then."""
        from kafka import KafkaAdminClient, errors  # not with the conftest that imports this: its warnings come later

        def ask() -> list[set[str]]:
            with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
                found = set(admin.list_topics())
                made = [] if keep is None else [name for name in found - keep if not name.startswith("__")]
                if made:
                    admin.delete_topics(made)
                return [found]

        return wait_until(ask, "an answer of Kafka", forgive=errors.KafkaError)[0]
