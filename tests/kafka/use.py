"""The Kafka that tests use: one started by the session, or the one of HEADRACE_KAFKA."""

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

    def require_own(self) -> KafkaServer:
        """The server of the session, to stop or disconnect it. Skips the test if HEADRACE_KAFKA names a broker."""
        if self.server is None:
            pytest.skip("HEADRACE_KAFKA names a broker that tests must not disturb: unset it to start one")
        return self.server

    @contextmanager
    def empty(self) -> Iterator[None]:
        """Deletes the topics that were created in the block, and no others.

        To create and delete the four topics of the contract suite takes 70 ms. Workers that share a broker take turns.
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
        """The names of all topics, once the broker answers. With `keep`, deletes the others."""
        from kafka import KafkaAdminClient, errors  # not at import time: the warning filters must be set first

        def list_topics() -> list[set[str]]:
            with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
                names = set(admin.list_topics())
                new = [] if keep is None else [name for name in names - keep if not name.startswith("__")]
                if new:
                    admin.delete_topics(new)
                return [names]

        return wait_until(list_topics, "an answer of Kafka", forgive=errors.KafkaError)[0]
