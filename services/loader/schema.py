"""The schema dictionary: key, columns and foreign keys of each table that the loader writes.

A row in Python holds natural keys (event_key, entity_key ...). `foreign_keys` lists the columns that hold ids in the
database, and the resolver (services/loader/resolve.py) for each.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ForeignKey:
    """A column with the id of a row in another table. Rows in Python hold that row's natural key instead."""

    column: str
    table: str


@dataclass(frozen=True, eq=False)  # one object per table, hashed by identity: it is hashed for every row
class Table:
    """`key` identifies a row; `values` may change with a later version. A row's tuple is the key, then the values."""

    name: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    append_only: bool = False
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", self.key + self.values)

    @property
    def qualified(self) -> str:
        return f"facts.{self.name}"


_EVENT = ForeignKey("event_id", "events")

ENTRIES = Table(
    "entries",
    ("event_id", "slot"),
    ("entity_id", "measures", "categories"),
    (_EVENT, ForeignKey("entity_id", "entities")),
)
OBSERVATIONS = Table("observations", ("event_id", "slot"), ("course", "measures"), (_EVENT,))
OUTCOMES = Table("outcomes", ("event_id", "slot"), ("place", "code", "course", "start_timing_s", "refunded"), (_EVENT,))
TRANSACTIONS = Table("transactions", ("event_id", "market", "selection"), ("amount", "ordinal"), (_EVENT,))
VERSIONS = Table(
    "versions",
    ("event_id", "kind", "version"),
    ("known_at", "revision", "record_id", "body", "told"),
    (_EVENT,),
    append_only=True,
)
REGRESSIONS = Table("regressions", ("event_id", "kind", "record_id", "field"), ("kept", "known_at"), (_EVENT,))
CORRECTIONS = Table("corrections", ("event_id", "kind", "record_id", "field"), ("old", "new", "known_at"), (_EVENT,))
ENTITIES = Table(
    "entities", ("entity_key",), ("source_id", "name", "categories", "known_at"), (ForeignKey("source_id", "sources"),)
)
RETURN_RATES = Table(
    "return_rates",
    ("slot", "source_id", "scope", "key", "market"),
    ("bets", "staked", "returned", "as_of"),
    (ForeignKey("source_id", "sources"),),
)
PREDICTIONS = Table(
    "predictions",
    ("record_id",),
    ("event_id", "state", "model_version", "as_of", "shadow", "feature_hash", "probabilities", "decision"),
    (_EVENT,),
)
DEAD_LETTERS = Table(
    "dead_letters", ("service", "topic", "p", "off"), ("record_id", "key", "error", "message", "attempts", "failed_at")
)

FACT_TABLES = (ENTRIES, OBSERVATIONS, OUTCOMES, TRANSACTIONS)
"""Tables whose rows are the fold of an event's versions, in the order in which they are written."""

STAGED_TABLES = (*FACT_TABLES, VERSIONS, REGRESSIONS, CORRECTIONS, ENTITIES, RETURN_RATES, PREDICTIONS, DEAD_LETTERS)

REFERENCE_TABLES = (
    "venues", "markets", "grades", "classes", "weathers", "wind_directions", "techniques", "place_codes", "branches",
)  # fmt: skip
"""Tables of reference data, all with the same columns: (source_id, code) -> name, attributes."""
