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
        from kafka import KafkaAdminClient  # not with the conftest that imports this: its warnings are settled later

        name = hashlib.sha256(self.bootstrap.encode()).hexdigest()[:16]
        with (Path(tempfile.gettempdir()) / f"headrace-kafka-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
                before = set(admin.list_topics())
            try:
                yield
            finally:
                with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
                    made = [topic for topic in admin.list_topics() if topic not in before and topic[:2] != "__"]
                    if made:
                        admin.delete_topics(made)
