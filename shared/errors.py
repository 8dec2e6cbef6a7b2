"""The error tree. The leaf that is raised decides what the runtime does.

HeadraceError
├── ConfigError        stop: a setting is wrong; the message names key and file
├── InvalidEvent       skip: this record is wrong; it becomes a dead letter, the rest goes on
├── InvalidDocument    skip: this document is wrong; its window is marked failed, the rest goes on
├── TransientError     retry: a dependency is away; back off, nothing is advanced
│   └── NotReady       the same: the dependency is there, and still prepares what was asked of it
└── BrokerError
    ├── Fenced         rebuild: another process owns the partition or slot now; nothing of the unit happened
    ├── Aborted        rebuild: the unit did not happen
    └── Unknown        rebuild: the unit may have happened; reload positions to find out
"""


class HeadraceError(Exception):
    """Anything Headrace raises on purpose."""


class ConfigError(HeadraceError):
    """A setting is missing, unknown or impossible; says which key, where, and what is allowed."""


class InvalidEvent(HeadraceError):
    """A record that no retry can mend; says what was expected and what came."""


class InvalidDocument(HeadraceError):
    """A fetched document that cannot be split into events; says what was expected and what came."""


class TransientError(HeadraceError):
    """A dependency (source, broker, database, channel) failed in a way that may pass."""


class NotReady(TransientError):
    """A dependency is there, and starts, or makes what a first request needs: expected to pass within seconds."""


class BrokerError(HeadraceError):
    """A unit failed; it is dead, and the caller rebuilds and reloads positions."""


class Fenced(BrokerError):
    """Ownership was lost: nothing of the unit happened."""


class Aborted(BrokerError):
    """The unit was rolled back: nothing of it happened."""


class Unknown(BrokerError):
    """The reply to commit was lost: only reloading positions tells whether it happened."""
