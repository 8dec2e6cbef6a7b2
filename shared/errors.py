"""The exception hierarchy. The class that is raised decides what the runtime does (shared/runtime/loops).

HeadraceError
├── ConfigError        stop: a setting is wrong; the message names the key and the file
├── InvalidEvent       skip: the record is invalid and becomes a dead letter; the other records are processed
├── InvalidDocument    skip: the document is invalid and its window is marked failed; the other windows are processed
├── TransientError     retry: a dependency is unavailable; back off without advancing positions
│   └── NotReady       retry: the dependency is reachable and still starting or preparing the requested resource
├── WentBack           end: the database was restored or failed over to an earlier state; a new process starts from it
└── BrokerError
    ├── Fenced         rebuild: another process owns the partition or slot now; the unit had no effect
    ├── Aborted        rebuild: the unit was rolled back
    │   └── RecordTooLarge  rebuild: the broker refused a record of the unit
    └── Unknown        rebuild: the unit may have been committed; reload positions to find out

Any other exception counts as a bug. In a handler, the record that causes it is tried three times and then becomes a
dead letter (loops/batch.py). In a fetch, the window is marked failed. Elsewhere in a loop, the process ends.
"""


class HeadraceError(Exception):
    """Base class of all errors that Headrace raises deliberately."""


class ConfigError(HeadraceError):
    """A setting is missing, unknown or invalid. The message has the key, where it is set, and what is allowed."""


class InvalidEvent(HeadraceError):
    """A record that no retry can fix. The message says what was expected and what was received."""


class InvalidDocument(HeadraceError):
    """A fetched document that cannot be split into events. The message says what was expected and what was received."""


class TransientError(HeadraceError):
    """A dependency (source, broker, database, channel) failed in a way that a retry may resolve."""


class NotReady(TransientError):
    """A dependency is starting, or creates what a first request needs. Expected to resolve within seconds."""


class WentBack(HeadraceError):
    """The database is at an earlier state than one that this process has seen: a backup was restored, or a failover
    lost commits. What the process remembers is no longer true, so it must end."""


class BrokerError(HeadraceError):
    """A unit failed and cannot be used again. The caller rebuilds its producer and reloads positions."""


class Fenced(BrokerError):
    """Ownership was lost. The unit had no effect."""


class Aborted(BrokerError):
    """The unit was rolled back. It had no effect."""


class RecordTooLarge(Aborted):
    """The broker refused a record of the unit because of its size."""

    def __init__(self, topic: str, size_bytes: int, cause: str) -> None:
        super().__init__(f"topic {topic!r} does not accept a record of {size_bytes:,} bytes: {cause}")
        self.topic = topic
        self.size_bytes = size_bytes


class Unknown(BrokerError):
    """The reply to the commit was lost. Only reloaded positions show whether the unit was committed."""
