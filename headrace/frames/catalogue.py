"""The views that analysts read: columns, types, units and the meaning of missing values.

This is the single source for the data types of frames, the pandera models, docs/views.md and the hints of errors. A
test compares it with a migrated database.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

STATES = ("card", "observation")
KINDS = ("listed", "observed", "settled")
STATUSES = ("listed", "observed", "provisional", "settled", "void", "cancelled", "postponed")
SESSION_STATUSES = ("listed", "running", "settled", "settled in part", "cancelled")
HEADS = ("result", "top3", "trend", "behaviour")
SERVICES = ("fetcher", "cleaner", "loader", "predictor", "notifier")

_DTYPES = {
    "smallint": "Int16",
    "integer": "Int32",
    "bigint": "Int64",
    "double precision": "float64",
    "boolean": "bool",
    "text": "str",
    "uuid": "str",
    "date": "datetime64[s]",
    "timestamp with time zone": "datetime64[us, UTC]",
    "jsonb": "object",
    "text[]": "object",
}


@dataclass(frozen=True)
class Column:
    """`none`: the meaning of a missing value; empty if the column always has one.

    `values`: the complete vocabulary of a category. A category without it has the values of the rows. `one_value`: a
    cell of JSON is a text or a number, not an object with names.
    """

    name: str
    sql_type: str
    meaning: str
    unit: str = ""
    none: str = ""
    category: bool = False
    values: tuple[str, ...] = ()
    one_value: bool = False

    @property
    def dtype(self) -> str:
        """The pandas data type."""
        return "category" if self.is_category else _DTYPES[self.sql_type]

    @property
    def is_category(self) -> bool:
        return self.category or bool(self.values)

    @property
    def is_json(self) -> bool:
        return self.sql_type == "jsonb"

    @property
    def is_text(self) -> bool:
        return self.sql_type == "text"

    @property
    def nullable(self) -> bool:
        return bool(self.none)


class Scope(StrEnum):
    """How the arguments for days, venues, sources and events select rows of a view."""

    SESSION = "session"
    """By the row's own date, venue and source."""
    EVENT = "event"
    """By the session of the row's event."""
    ENTITY = "entity"
    """Entities that have an entry in a selected event."""
    KEY = "key"
    """By the parts of the event's key: the event itself is not listed yet."""
    TIME = "time"
    """By the UTC day of a time of the row."""
    SOURCE = "source"
    """By source only."""


@dataclass(frozen=True)
class View:
    """`key` identifies a row and orders the rows. `filters`: columns by which the method can also select rows."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    scope: Scope = Scope.EVENT
    filters: tuple[str, ...] = ()
    is_stored: bool = True
    """Whether the database has a view of this name. The others are joined from several views."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Raises KeyError."""
        return next((each for each in self.columns if each.name == name), None) or _missing(name)


def _missing(name: str) -> Column:
    raise KeyError(name)


_EVENT_KEY = Column("event_key", "text", "Key of the event: source:date:venue:number.")
_SESSION_KEY = Column("session_key", "text", "Key of the session: source:date:venue.")
_SOURCE = Column("source", "text", "Name of the source.", category=True)
_DATE = Column("date", "date", "Day of the session in the source's calendar.")
_VENUE = Column("venue", "integer", "Code of the venue; the view `venues` has its name.")
_NUMBER = Column("number", "integer", "Number of the event in its session, from 1.")
_SCHEDULED = Column(
    "scheduled_at", "timestamp with time zone", "Start of the event (boat races: betting deadline).",
    none="not announced",
)  # fmt: skip
_STATUS = Column(
    "status", "text", "State of the event. `postponed`: cancelled, and the same card follows within three days.",
    values=STATUSES,
)  # fmt: skip
_SLOT = Column("slot", "smallint", "Number of the entry in the event, from 1.")
_RECORD_ID = Column("record_id", "uuid", "Id of the record that stated it.")
_MODEL = Column("model_version", "text", "Version of the model.", category=True)
_STATE = Column("state", "text", "What was known: the card, or card and observation.", values=STATES)
_SHADOW = Column("shadow", "boolean", "Whether a model made it that only observes.")
_AS_OF = Column("as_of", "timestamp with time zone", "When the newest fact of the prediction became known.")
_KIND = Column("kind", "text", "Kind of the fact.", values=KINDS)
_FIELD = Column("field", "text", "Name of the field; the fields of entries begin with the slot.", category=True)
_FACT_KNOWN = Column("known_at", "timestamp with time zone", "When the later fact could be known.")
_CODE = Column("code", "text", "Code in the columns of other views.")
_PLACE = Column("place", "smallint", "Place, from 1.", none="no place: `code` says why, or the event has no result")
_PLACE_CODE = Column("code", "smallint", "Code of an entry without a place; see `place_codes`.", none="it has a place")
_LANE = Column("course", "smallint", "Lane from which the entry started, from 1.", none="not known")
_TIMING = Column("start_timing_s", "double precision", "Start after the signal; negative: too early.", "s", "not known")
_REFUNDED = Column("refunded", "boolean", "Whether stakes on the entry were returned.")
_AMOUNT_NONE = (
    "the market does not count: no payout, a missing payout row, a refunded entry, or the event is not settled"
)

_PREDICTION_FILTERS = ("model_version", "state", "shadow")

SESSIONS = View(
    "sessions",
    "One row per session: the events of one venue on one day.",
    (
        _SESSION_KEY,
        _SOURCE,
        _DATE,
        _VENUE,
        Column("title", "text", "Title of the session.", none="the source has none"),
        Column(
            "status", "text", "State of its events: `settled in part` if others are cancelled.", values=SESSION_STATUSES
        ),
        Column("venue_name", "text", "Name of the venue.", none="not named yet"),
        Column("grade", "integer", "Code of the grade; see `grades`.", none="the source has none"),
    ),
    ("session_key",),
    Scope.SESSION,
)
EVENTS = View(
    "events",
    "One row per event.",
    (
        _EVENT_KEY,
        _SESSION_KEY,
        _NUMBER,
        _SCHEDULED,
        _STATUS,
        Column("version", "integer", "Number of facts about the event so far that changed it, from 1."),
        Column("known_at", "timestamp with time zone", "When its newest fact could be known.", none="never stated"),
        Column("title", "text", "Title of the event.", none="the source has none"),
        Column("distance_m", "integer", "Length of the course.", "m", "not announced"),
        Column("technique", "integer", "Code of the winning technique; see `techniques`.", none="no result"),
        Column("conditions", "jsonb", "Conditions in the result, for example weather and wind.", none="no result"),
        Column(
            "observed_conditions", "jsonb", "Conditions before the event, with the same fields.", none="not observed"
        ),
        Column("missing_markets", "text[]", "Markets whose payout rows the source lacks.", none="no result"),
        Column("listed_at", "timestamp with time zone", "When the card could be known.", none="no card"),
        Column("observed_at", "timestamp with time zone", "When the observation could be known.", none="not observed"),
        Column("settled_at", "timestamp with time zone", "When the result could be known.", none="no result"),
    ),
    ("event_key",),
)  # fmt: skip
ENTITIES = View(
    "entities",
    "One row per entity (boat races: racer).",
    (
        Column("entity_key", "text", "Key of the entity: source:number."),
        Column("name", "text", "Name.", none="not named yet"),
        Column("categories", "jsonb", "Codes of what it belongs to, by name: class, branch, birthplace."),
        Column("known_at", "timestamp with time zone", "When this information could be known."),
    ),
    ("entity_key",),
    Scope.ENTITY,
)
ENTITY_HISTORY = View(
    "entity_history",
    "One row per value of an attribute of an entity, with the time for which it was valid.",
    (
        Column("entity_key", "text", "Key of the entity: source:number."),
        Column(
            "attribute", "text", "Name of the attribute: name, class, branch, weight_kg and the like.", category=True
        ),
        Column("value", "jsonb", "Its value.", one_value=True),
        Column("valid_from", "timestamp with time zone", "From when a card stated the value."),
        Column("valid_to", "timestamp with time zone", "From when a card stated another.", none="it is still valid"),
    ),
    ("entity_key", "attribute", "valid_from"),
    Scope.ENTITY,
    ("attribute",),
)
ENTRIES = View(
    "entries",
    "One row per entry of an event: who takes part in which slot, and what the card says.",
    (
        _EVENT_KEY,
        _SLOT,
        Column("entity_key", "text", "Key of the entity.", none="the slot is empty"),
        Column("measures", "jsonb", "Numbers of the card by name, for example rates of earlier places."),
        Column("categories", "jsonb", "Codes of the card by name."),
    ),
    ("event_key", "slot"),
)
OBSERVATIONS = View(
    "observations",
    "One row per entry that was observed before its event.",
    (
        _EVENT_KEY,
        _SLOT,
        Column("course", "smallint", "Lane in the trial, from 1.", none="not observed"),
        Column("measures", "jsonb", "Measurements by name, for example the exhibition time in s."),
    ),
    ("event_key", "slot"),
)
OUTCOMES = View(
    "outcomes",
    "One row per entry of an event with a result.",
    (_EVENT_KEY, _SLOT, _PLACE, _PLACE_CODE, _LANE, _TIMING, _REFUNDED),
    ("event_key", "slot"),
)
TRANSACTIONS = View(
    "transactions",
    "One row per selection that paid.",
    (
        _EVENT_KEY,
        Column("market", "text", "Kind of bet; see `markets`.", category=True),
        Column("selection", "text", "Winning combination of slots: `1-2-3` is ordered, `1=2=3` is not."),
        Column("amount", "bigint", "Payout.", "currency of the source per 100 staked"),
        Column("ordinal", "smallint", "Position among the rows of the market, from 1."),
    ),
    ("event_key", "market", "ordinal", "selection"),
    filters=("market",),
)
RETURN_RATES = View(
    "return_rates",
    "One row per market and group: what bets on all selections cost and paid back, over all settled events.",
    (
        _SOURCE,
        Column("scope", "text", "Kind of group.", values=("all", "venue", "slot", "entity", "month", "selection")),
        Column("key", "text", "Venue, slot, entity key, month (2026-01) or selection; empty for `all`."),
        Column("market", "text", "Kind of bet.", category=True),
        Column("bets", "bigint", "Number of bets."),
        Column("staked", "bigint", "Sum of stakes.", "currency of the source, 100 per bet"),
        Column("returned", "bigint", "Sum of payouts.", "currency of the source"),
        Column("rate", "double precision", "Returned per unit staked.", "1", "nothing was staked"),
        Column("as_of", "timestamp with time zone", "When the newest result in it could be known."),
    ),
    ("source", "scope", "key", "market"),
    Scope.SOURCE,
    ("scope", "market"),
)
PREDICTIONS = View(
    "predictions",
    "One row per predicted class: of an event, or of one of its slots.",
    (
        _EVENT_KEY,
        Column("slot", "smallint", "Number of the entry, from 1.", none="the class is of the event: head `trend`"),
        Column("head", "text", "What is predicted: winner, first three, trend of the payout, start.", values=HEADS),
        Column("class", "text", "The class that has this probability.", category=True),
        Column("probability", "double precision", "Its probability.", "1"),
        _MODEL,
        _AS_OF,
        _STATE,
        _SHADOW,
    ),
    ("event_key", "as_of", "state", "model_version", "head", "slot", "class"),
    filters=(*_PREDICTION_FILTERS, "head"),
)  # fmt: skip
DECISIONS = View(
    "decisions",
    "One row per prediction with a policy: the bet that it would place. A decision aid; no claim of profit.",
    (
        _EVENT_KEY,
        _SESSION_KEY,
        _STATE,
        _MODEL,
        _AS_OF,
        _SHADOW,
        Column("decision", "jsonb", "Chosen action, and each action's value: mean return of one unit staked, minus 1."),
    ),
    ("event_key", "as_of", "state", "model_version"),
    filters=_PREDICTION_FILTERS,
)
PREDICTION_SCORES = View(
    "prediction_scores",
    "One row per prediction of an event with exactly one winner.",
    (
        _EVENT_KEY,
        _STATE,
        _MODEL,
        _AS_OF,
        _SHADOW,
        Column("log_loss", "double precision", "Negative logarithm of the winner's probability.", "nats"),
    ),
    ("event_key", "as_of", "state", "model_version"),
    filters=_PREDICTION_FILTERS,
)
REGRESSIONS = View(
    "regressions",
    "One row per value that a later fact lacks. The earlier value is kept.",
    (_EVENT_KEY, _KIND, _FIELD, Column("kept", "text", "The kept value, as JSON."), _FACT_KNOWN, _RECORD_ID),
    ("event_key", "kind", "known_at", "field", "record_id"),
)
CORRECTIONS = View(
    "corrections",
    "One row per value that a later fact changed.",
    (
        _EVENT_KEY,
        _KIND,
        _FIELD,
        Column("old", "text", "The value before, as JSON."),
        Column("new", "text", "The value after, as JSON.", none="the value was withdrawn"),
        _FACT_KNOWN,
        _RECORD_ID,
    ),
    ("event_key", "kind", "known_at", "field", "record_id"),
)
PARKED = View(
    "parked",
    "One row per fact that waits until its event is listed.",
    (
        _EVENT_KEY,
        Column("kind", "text", "Kind of the record.", category=True),
        Column("reason", "text", "Why it waits.", category=True),
        Column("parked_at", "timestamp with time zone", "Since when."),
        _RECORD_ID,
    ),
    ("event_key", "parked_at", "record_id"),
    Scope.KEY,
)
DEAD_LETTERS = View(
    "dead_letters",
    "One row per record that a service could not handle.",
    (
        Column("service", "text", "The service.", values=SERVICES),
        Column("topic", "text", "Topic of the dead letter.", category=True),
        Column("partition", "integer", "Its partition."),
        Column("offset", "bigint", "Its offset."),
        Column("key", "text", "Key of the record."),
        Column("error", "text", "Class of the error.", category=True),
        Column("message", "text", "The error's message."),
        Column("attempts", "integer", "How often the record was tried."),
        Column("failed_at", "timestamp with time zone", "When it failed for the last time."),
        _RECORD_ID,
    ),
    ("service", "topic", "partition", "offset"),
    Scope.TIME,
    ("service", "error"),
)
RESULTS = View(
    "results",
    "One row per entry of an event with a result, with event, session, entity and payouts beside it.",
    (
        _EVENT_KEY,
        _SESSION_KEY,
        _SOURCE,
        _DATE,
        _VENUE,
        _NUMBER,
        _SCHEDULED,
        _STATUS,
        _SLOT,
        Column("entity_key", "text", "Key of the entity.", none="the slot is empty"),
        _PLACE,
        _PLACE_CODE,
        _LANE,
        _TIMING,
        _REFUNDED,
        Column("win_amount", "bigint", "Payout on the slot in the market `win`; 0 if it paid nothing.",
               "currency of the source per 100 staked", _AMOUNT_NONE),
        Column("place_amount", "bigint", "The same in the market `place`.",
               "currency of the source per 100 staked", _AMOUNT_NONE),
    ),
    ("event_key", "slot"),
    is_stored=False,
)  # fmt: skip

REFERENCE_MEANINGS = {
    "venues": "places of events",
    "markets": "kinds of bets",
    "grades": "grades of sessions",
    "classes": "classes of entities",
    "weathers": "kinds of weather",
    "wind_directions": "directions of wind",
    "techniques": "winning techniques",
    "place_codes": "reasons for an entry without a place",
    "branches": "branches to which entities belong",
}
REFERENCES = tuple(
    View(
        name,
        f"Reference data: {meaning}.",
        (
            _SOURCE,
            _CODE,
            Column("name", "text", "Name in the source's language.", none="the code was met and is not named yet"),
            Column("attributes", "jsonb", "Further properties by name."),
        ),
        ("source", "code"),
        Scope.SOURCE,
    )
    for name, meaning in REFERENCE_MEANINGS.items()
)

VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        SESSIONS, EVENTS, ENTITIES, ENTITY_HISTORY, ENTRIES, OBSERVATIONS, OUTCOMES, TRANSACTIONS, RETURN_RATES,
        PREDICTIONS, DECISIONS, PREDICTION_SCORES, REGRESSIONS, CORRECTIONS, PARKED, DEAD_LETTERS, RESULTS, *REFERENCES,
    )
}  # fmt: skip
"""All views by name, in the order of the documentation."""
