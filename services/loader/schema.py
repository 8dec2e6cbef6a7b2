"""The schema dictionary: the tables of the schema `facts`, with key, columns, types, units, meanings and references.

Staging tables, COPY lists, merges and natural keys are derived from it (postgres_merge.py, postgres_events.py), and so
are the comments in the database and docs/database.md. Tests compare it with a migrated database.

A row in Python holds natural keys (event_key, entity_key ...) in the columns that refer to another table; the resolver
(services/loader/resolve.py) of that table turns them into ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ForeignKey:
    """A column with the id of a row in another table. Rows in Python hold that row's natural key instead."""

    column: str
    table: str


@dataclass(frozen=True)
class TableColumn:
    """`sql_type`: as PostgreSQL's format_type prints it. `refers_to`: the table whose id the column holds.

    `stated_by`: of a column of facts.events, the kind of fact that states it; other kinds do not change it.
    """

    name: str
    sql_type: str
    meaning: str
    unit: str = ""
    refers_to: str | None = None
    optional: bool = False
    stated_by: str = ""


@dataclass(frozen=True)
class TableIndex:
    """An index besides those of the primary key and of constraints. `on`, `where`: as PostgreSQL prints them."""

    name: str
    on: str
    where: str = ""


@dataclass(frozen=True, eq=False)  # one object per table, hashed by identity: it is hashed for every row
class Table:
    """`key_columns` identify a row; `value_columns` may change with a later version. A row's tuple is the key, then the
    values. `own_columns` are filled in by the database: an id, a default or a trigger."""

    name: str
    meaning: str
    key_columns: tuple[TableColumn, ...]
    value_columns: tuple[TableColumn, ...]
    own_columns: tuple[TableColumn, ...] = ()
    append_only: bool = False
    indexes: tuple[TableIndex, ...] = ()
    key: tuple[str, ...] = field(init=False)
    values: tuple[str, ...] = field(init=False)
    columns: tuple[str, ...] = field(init=False)
    foreign_keys: tuple[ForeignKey, ...] = field(init=False)

    def __post_init__(self) -> None:
        every = self.key_columns + self.value_columns
        object.__setattr__(self, "key", tuple(column.name for column in self.key_columns))
        object.__setattr__(self, "values", tuple(column.name for column in self.value_columns))
        object.__setattr__(self, "columns", self.key + self.values)
        references = tuple(ForeignKey(column.name, column.refers_to) for column in every if column.refers_to)
        object.__setattr__(self, "foreign_keys", references)

    @property
    def qualified(self) -> str:
        return f"facts.{self.name}"

    @property
    def all_columns(self) -> tuple[TableColumn, ...]:
        """With those that the database fills in."""
        return self.own_columns + self.key_columns + self.value_columns


_ID = TableColumn("id", "bigint", "Number of the row, given by the database.")
_SMALL_ID = TableColumn("id", "integer", "Number of the row, given by the database.")
_EVENT = TableColumn("event_id", "bigint", "The event.", refers_to="events")
_ENTITY = TableColumn("entity_id", "bigint", "The entity.", refers_to="entities")
_SOURCE = TableColumn("source_id", "smallint", "The source.", refers_to="sources")
_SLOT = TableColumn("slot", "smallint", "Number of the entry in the event, from 1.")
_MEASURES = TableColumn("measures", "jsonb", "Measured values by name; a name ends in its unit.")
_CATEGORIES = TableColumn("categories", "jsonb", "Codes by name.")
_KIND = TableColumn("kind", "text", "Kind of the fact: listed, observed or settled.")
_RECORD = TableColumn("record_id", "uuid", "Id of the record that states it.")
_KNOWN_AT = TableColumn("known_at", "timestamp with time zone", "From when it could be known.")
_FIELD = TableColumn("field", "text", "Dotted name of the value, for example outcomes.1.result.")

SOURCES = Table(
    "sources",
    "Sources of documents.",
    (TableColumn("name", "text", "Name of the source."),),
    (),
    (TableColumn("id", "smallint", "Number of the row, given by the database."),),
)
SESSIONS = Table(
    "sessions",
    "The events of one venue on one day.",
    (TableColumn("session_key", "text", "Key: source:date:venue."),),
    (
        _SOURCE,
        TableColumn("venue_id", "integer", "The venue.", refers_to="venues"),
        TableColumn("date", "date", "Day in the source's calendar."),
        TableColumn("title", "text", "Title: the newest session_title of its events.", optional=True),
        TableColumn("grade", "integer", "Code of the grade: the newest session_grade of its events.", optional=True),
    ),
    (_ID,),
    indexes=(TableIndex("sessions_date", "date"),),
)
EVENTS = Table(
    "events",
    "The current state of each event: the fold of its versions.",
    (TableColumn("event_key", "text", "Key: source:date:venue:number."),),
    (
        TableColumn("session_id", "bigint", "The session.", refers_to="sessions", stated_by="listed"),
        TableColumn("number", "integer", "Number of the event in its session, from 1.", stated_by="listed"),
        TableColumn(
            "scheduled_at",
            "timestamp with time zone",
            "Start (boat races: betting deadline).",
            optional=True,
            stated_by="listed",
        ),
        TableColumn("title", "text", "Title of the event.", optional=True, stated_by="listed"),
        TableColumn("distance_m", "integer", "Length of the course.", "m", optional=True, stated_by="listed"),
        TableColumn(
            "card_key",
            "text",
            "Equal for the same entries at the same venue and number.",
            optional=True,
            stated_by="listed",
        ),
        TableColumn("status", "text", "listed, observed, provisional, settled, void or cancelled."),
        TableColumn("technique", "integer", "Code of the winning technique.", optional=True, stated_by="settled"),
        TableColumn("conditions", "jsonb", "Conditions in the result.", optional=True, stated_by="settled"),
        TableColumn(
            "observed_conditions", "jsonb", "Conditions before the event.", optional=True, stated_by="observed"
        ),
        TableColumn(
            "missing_markets",
            "text[]",
            "Markets whose payout rows the source lacks.",
            optional=True,
            stated_by="settled",
        ),
        TableColumn(
            "session_title",
            "text",
            "Title of the session, as the event's cards state it.",
            optional=True,
            stated_by="listed",
        ),
        TableColumn(
            "session_grade",
            "integer",
            "Code of the session's grade, as the event's cards state it.",
            optional=True,
            stated_by="listed",
        ),
        TableColumn("version", "integer", "Number of stored versions."),
        TableColumn(
            "listed_at",
            "timestamp with time zone",
            "known_at of the last card that changed it.",
            optional=True,
            stated_by="listed",
        ),
        TableColumn(
            "observed_at",
            "timestamp with time zone",
            "known_at of the last observation that changed it.",
            optional=True,
            stated_by="observed",
        ),
        TableColumn(
            "settled_at",
            "timestamp with time zone",
            "known_at of the last result that changed it.",
            optional=True,
            stated_by="settled",
        ),
    ),
    (_ID,),
    indexes=(
        TableIndex("events_session", "session_id"),
        TableIndex("events_cancelled_card", "card_key", "card_key IS NOT NULL"),
        TableIndex("events_scheduled", "scheduled_at"),
    ),
)
ENTRIES = Table(
    "entries",
    "Who takes part in which slot of an event, and what the card says.",
    (_EVENT, _SLOT),
    (
        TableColumn("entity_id", "bigint", "The entity; null: the slot is empty.", refers_to="entities", optional=True),
        _MEASURES,
        _CATEGORIES,
    ),
    indexes=(TableIndex("entries_entity", "entity_id"),),
)
OBSERVATIONS = Table(
    "observations",
    "Measurements of an entry before the event.",
    (_EVENT, _SLOT),
    (TableColumn("course", "smallint", "Lane in the trial, from 1.", optional=True), _MEASURES),
)
OUTCOMES = Table(
    "outcomes",
    "The result of an entry: a place, or a code for why there is none.",
    (_EVENT, _SLOT),
    (
        TableColumn("place", "smallint", "Place, from 1.", optional=True),
        TableColumn("code", "smallint", "The source's code.", optional=True),
        TableColumn("course", "smallint", "Lane in the event, from 1.", optional=True),
        TableColumn(
            "start_timing_s", "double precision", "Time from the start signal to the start line.", "s", optional=True
        ),
        TableColumn("refunded", "boolean", "Whether stakes on the entry are paid back."),
    ),
)
TRANSACTIONS = Table(
    "transactions",
    "The settled amount of a selection.",
    (
        _EVENT,
        TableColumn("market", "text", "Kind of bet."),
        TableColumn("selection", "text", "Combination, for example 1-2-3."),
    ),
    (
        TableColumn("amount", "bigint", "Payment for a stake of 100.", "currency of the source"),
        TableColumn("ordinal", "smallint", "Position of the row in its market, from 1."),
    ),
)
VERSIONS = Table(
    "versions",
    "Every version of every fact, also withdrawals. The loader never changes or deletes one.",
    (_EVENT, _KIND, TableColumn("version", "integer", "Number of the version of this kind, from 1, by arrival.")),
    (
        _KNOWN_AT,
        TableColumn("revision", "text", "0, or the id of the replay that wrote the record."),
        _RECORD,
        TableColumn("body", "bytea", "The record's JSON, compressed with zstd."),
        TableColumn(
            "told", "boolean", "Whether loaded-events announced it; null: stored by an early version.", optional=True
        ),
    ),
    (
        TableColumn(
            "written_by", "xid8", "The transaction that stored it; null: stored by an early version.", optional=True
        ),
    ),
    append_only=True,
    indexes=(TableIndex("versions_written", "written_by"),),
)
REGRESSIONS = Table(
    "regressions",
    "Values that a later fact lacks; the earlier value stays.",
    (_EVENT, _KIND, _RECORD, _FIELD),
    (TableColumn("kept", "text", "The value that stays."), _KNOWN_AT),
)
CORRECTIONS = Table(
    "corrections",
    "Values that a later fact replaced.",
    (_EVENT, _KIND, _RECORD, _FIELD),
    (
        TableColumn("old", "text", "The value before."),
        TableColumn("new", "text", "The value since; null: removed.", optional=True),
        _KNOWN_AT,
    ),
)
ENTITIES = Table(
    "entities",
    "What is known of each participant: the fold of its profiles.",
    (TableColumn("entity_key", "text", "Key: source:number."),),
    (_SOURCE, TableColumn("name", "text", "Name.", optional=True), _CATEGORIES, _KNOWN_AT),
    (_ID,),
)
PROFILES = Table(
    "profiles",
    "What one card states about an entity. Ranges of validity are derived from them.",
    (_ENTITY, _KNOWN_AT, _RECORD),
    (TableColumn("name", "text", "Name.", optional=True), _CATEGORIES, _MEASURES),
)
PAST_FACTS = Table(
    "past_facts",
    "What was known of an event's facts in an earlier range of time. What is known now is in the other tables.",
    (_EVENT, _KIND, TableColumn("valid_from", "timestamp with time zone", "From when it was known.")),
    (
        TableColumn("valid_to", "timestamp with time zone", "From when something else was known."),
        TableColumn("versions", "bigint", "Number of versions of this kind that were known."),
        TableColumn("fact", "jsonb", "The fold of these versions: columns of events, outcomes and transactions."),
    ),
    indexes=(TableIndex("past_facts_card", "(fact ->> 'card_key'::text)", "kind = 'listed'::text"),),
)
RETURN_RATES = Table(
    "return_rates",
    "Sums of bets on all selections, by loader slot; the view adds the slots up.",
    (
        TableColumn("slot", "text", "Slot of the loader that adds here."),
        _SOURCE,
        TableColumn("scope", "text", "all, venue, slot, entity, month or selection."),
        TableColumn("key", "text", "Value of the scope, for example a venue's code or 2026-01; empty for all."),
        TableColumn("market", "text", "Kind of bet."),
    ),
    (
        TableColumn("bets", "bigint", "Number of bets."),
        TableColumn("staked", "bigint", "Stakes, 100 for each bet.", "currency of the source"),
        TableColumn("returned", "bigint", "Payments.", "currency of the source"),
        TableColumn("as_of", "timestamp with time zone", "Midnight (UTC) of the newest day."),
    ),
)
PREDICTIONS = Table(
    "predictions",
    "Probabilities of an event from one state of knowledge.",
    (_RECORD,),
    (
        _EVENT,
        TableColumn("state", "text", "card or observation."),
        TableColumn("model_version", "text", "The model."),
        TableColumn("as_of", "timestamp with time zone", "When its newest fact became known."),
        TableColumn("shadow", "boolean", "Whether the model only shadows the live one."),
        TableColumn("feature_hash", "text", "Hash of the model's input."),
        TableColumn("probabilities", "jsonb", "Array of head, slot, label and probability."),
        TableColumn("decision", "jsonb", "The policy's action and the value of each.", optional=True),
    ),
    (
        TableColumn("layout", "text", "What each of layout_values is, as JSON; null: not packed.", optional=True),
        TableColumn("layout_values", "double precision[]", "The probabilities in one array.", optional=True),
    ),
    indexes=(TableIndex("predictions_event", "event_id"),),
)
DEAD_LETTERS = Table(
    "dead_letters",
    "Records that a service could not handle.",
    (
        TableColumn("service", "text", "The service."),
        TableColumn("topic", "text", "Topic of the dead letter."),
        TableColumn("p", "integer", "Its partition."),
        TableColumn("off", "bigint", "Its offset."),
    ),
    (
        _RECORD,
        TableColumn("key", "text", "Key of the record."),
        TableColumn("error", "text", "Class of the error."),
        TableColumn("message", "text", "Message of the error."),
        TableColumn("attempts", "integer", "How often the record was tried."),
        TableColumn("failed_at", "timestamp with time zone", "When it failed first."),
    ),
)
PARKED = Table(
    "parked",
    "Facts and predictions whose event is not listed yet.",
    (_RECORD,),
    (
        TableColumn("parent_key", "text", "Key of the event."),
        TableColumn("topic", "text", "Topic of the record."),
        TableColumn("p", "integer", "Its partition."),
        TableColumn("off", "bigint", "Its offset."),
        TableColumn("kind", "text", "Kind of the fact, or prediction."),
        TableColumn("reason", "text", "Why it is parked."),
        TableColumn("value", "bytea", "Body of the record."),
        TableColumn("headers", "jsonb", "Headers of the record."),
        TableColumn("parked_at", "timestamp with time zone", "When it was parked."),
    ),
    indexes=(TableIndex("parked_parent", "parent_key"),),
)
EXPORT_DAYS = Table(
    "export_days",
    "The state of each day's files.",
    (_SOURCE, TableColumn("date", "date", "Day in the source's calendar.")),
    (
        TableColumn("touched", "bigint", "How often rows of the day changed."),
        TableColumn("exported", "bigint", "The changes that the files include."),
    ),
)
HORIZON = Table(
    "horizon",
    "At most one row: nothing is in the database that was not known then.",
    (TableColumn("one_row", "boolean", "Always true."),),
    (TableColumn("as_of", "timestamp with time zone", "The instant."),),
)

FACT_TABLES = (ENTRIES, OBSERVATIONS, OUTCOMES, TRANSACTIONS)
"""Tables whose rows are the fold of an event's versions, in the order in which they are written."""

STAGED_TABLES = (
    *FACT_TABLES, VERSIONS, PAST_FACTS, REGRESSIONS, CORRECTIONS, ENTITIES, PROFILES, RETURN_RATES, PREDICTIONS,
    DEAD_LETTERS,
)  # fmt: skip

ENTITY_MEASURES = ("weight_kg", "age_years")
"""Measures of a card that describe the entity rather than its entry: they are in its profile too."""

REFERENCE_MEANINGS = {
    "venues": "Venues.",
    "markets": "Kinds of bets.",
    "grades": "Grades of sessions.",
    "classes": "Classes of entities.",
    "weathers": "Weathers.",
    "wind_directions": "Wind directions.",
    "techniques": "Winning techniques.",
    "place_codes": "Codes for why an entry has no place.",
    "branches": "Branches to which entities belong.",
}
REFERENCE_TABLES = tuple(REFERENCE_MEANINGS)
"""Tables of reference data, all with the same columns: (source_id, code) -> name, attributes."""


def _reference_table(name: str, meaning: str) -> Table:
    return Table(
        name,
        f"Reference data: {meaning[0].lower()}{meaning[1:]}",
        (_SOURCE, TableColumn("code", "text", "The source's code.")),
        (
            TableColumn("name", "text", "What the code means; null: met in an event, not named yet.", optional=True),
            TableColumn("attributes", "jsonb", "Further values by name."),
            TableColumn("known_at", "timestamp with time zone", "Since when it is known as it is.", optional=True),
        ),
        (_SMALL_ID,),
    )


ALL_TABLES = (
    SOURCES, *(_reference_table(*each) for each in REFERENCE_MEANINGS.items()), SESSIONS, EVENTS, *STAGED_TABLES,
    PARKED, EXPORT_DAYS, HORIZON,
)  # fmt: skip
"""Every table of the schema `facts`."""
