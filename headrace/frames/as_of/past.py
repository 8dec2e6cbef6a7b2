"""Reads stored versions and gives the rows of the views as they were known at an instant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from headrace.frames.as_of import view_rows
from headrace.frames.as_of.known_facts import (
    POSTPONED_DAYS,
    LineUp,
    known_events,
    line_up_of,
    listed_of,
    with_postponed,
)
from headrace.frames.as_of.statements import (
    DATES,
    cards_statement,
    chunks,
    venues_statement,
    versions_statement,
    with_entities_condition,
)
from headrace.frames.catalogue import PREDICTIONS, REFERENCE_MEANINGS, VIEWS, View
from headrace.frames.connection import Snapshot
from headrace.frames.days import Days
from headrace.frames.errors import BadArgument
from headrace.frames.live_models import with_live_models
from headrace.frames.query import Filters, statement_of
from headrace.frames.typed import encode
from services.loader.as_of import KnownEvent
from services.loader.entity_info import DatedEntityInfo
from services.loader.rows import Row

Read = Callable[[str], Snapshot]
"""Runs one statement."""

_DAY = dt.timedelta(days=1)
ALL_KINDS = ("listed", "observed", "settled")
WITHOUT_PAST = {
    "parked": "the database keeps no past of parked facts",
    "dead_letters": "a dead letter has no time at which it was known",
}


class Past:
    """What was known at `instant`; None: what is known now. The rows have the columns and the order of the views."""

    def __init__(self, read: Read, instant: dt.datetime | None) -> None:
        self._read = read
        self.instant = instant
        self._read_at: dt.datetime | None = None

    @property
    def as_of(self) -> dt.datetime:
        """The instant; without one, the time of the first read by the database's clock."""
        instant = self.instant or self._read_at
        if instant is None:
            raise ValueError("expected a read before as_of")
        return instant

    def rows(self, view: View, filters: Filters) -> list[Row]:
        """Raises BadArgument for a view that has no past."""
        if view.name in WITHOUT_PAST:
            raise BadArgument(f"{view.name} cannot be asked as of an instant: {WITHOUT_PAST[view.name]}")
        filters = with_live_models(filters, self._read, self.instant)
        match view.name:
            case "entities":
                rows = self._entities(filters)
            case "entity_history":
                rows = self._entity_history(view, filters)
            case "return_rates":
                rows = self._return_rates(filters)
            case "predictions" | "decisions":
                rows = self._predictions(view, filters)
            case "prediction_scores":
                rows = self._prediction_scores(filters)
            case name if name in REFERENCE_MEANINGS:
                return self._reference_rows(view, filters)
            case _:
                rows = self._of_events(view, filters)
        return sorted_rows(view, _equal(view, filters, rows))

    def events(self, filters: Filters, kinds: Collection[str] = ALL_KINDS) -> Iterator[list[KnownEvent]]:
        """The events in chunks of days, each in the order of keys. `kinds`: the facts that are read."""
        for part in self._parts(filters):
            events = self._known(versions_statement(part, kinds))
            yield list(with_postponed(events, self._cards(events)))

    def _of_events(self, view: View, filters: Filters) -> list[Row]:
        names = self._venue_names() if view.name == "sessions" else {}
        return [
            row
            for events in self.events(filters, view_rows.KINDS[view.name])
            for row in view_rows.rows_of_view(view.name, events, names)
        ]

    def _entities(self, filters: Filters) -> list[Row]:
        """From all cards known at the instant, also those of other days: each may be the newest of an entity."""
        keys = self._entity_keys(filters) if filters.texts() else None
        known: dict[str, DatedEntityInfo] = {}
        if keys is None or keys:
            conditions = [] if keys is None else [with_entities_condition(keys)]
            for part in self._parts(Filters()):
                cards = view_rows.entity_cards(self._known(versions_statement(part, ("listed",), *conditions)))
                view_rows.merge_entities(
                    (card for card in cards if keys is None or card.info.entity_key in keys), known
                )
        return view_rows.entity_rows(known)

    def _entity_history(self, view: View, filters: Filters) -> list[Row]:
        """Ranges end where a card states another value. A card that was not known yet ends none."""
        selection = replace(filters, equals={})
        keys = self._entity_keys(selection) if selection.texts() else None
        begin, end = view.names.index("valid_from"), view.names.index("valid_to")
        rows = [row for row in self._stored(view, Filters()) if keys is None or row[0] in keys]
        if self.instant is None:
            return rows
        instant = self.instant
        return [
            row if row[end] is None or row[end] <= instant else (*row[:end], None, *row[end + 1 :])
            for row in rows
            if row[begin] <= instant
        ]

    def _entity_keys(self, filters: Filters) -> set[str]:
        """The entities with an entry in one of the events, as far as it was known."""
        return {
            entry.entity.entity_key
            for events in self.events(filters, ("listed",))
            for event in events
            for entry in listed_of(event).entries
            if entry.entity is not None
        }

    def _return_rates(self, filters: Filters) -> list[Row]:
        """From all days until the instant: no event settles before its day, which begins at most a day earlier."""
        last = None if self.instant is None or self.instant.year == dt.MAXYEAR else (self.instant + _DAY).date()
        rates: view_rows.Rates = {}
        for part in self._parts(Filters(Days(None, last), sources=filters.sources)):
            view_rows.add_rates(rates, self._known(versions_statement(part, ("listed", "settled"))))
        return view_rows.rate_rows(rates)

    def _predictions(self, view: View, filters: Filters) -> list[Row]:
        at = view.names.index("as_of")
        return [row for row in self._stored(view, filters) if self.instant is None or row[at] <= self.instant]

    def _prediction_scores(self, filters: Filters) -> list[Row]:
        results = replace(filters, equals={**filters.equals, "head": ("result",)})
        winners: dict[str, int] = {}
        for events in self.events(replace(filters, equals={}), ("listed", "settled")):
            winners |= view_rows.winners(events)
        rows = [dict(zip(PREDICTIONS.names, row, strict=True)) for row in self._predictions(PREDICTIONS, results)]
        return [
            (row["event_key"], row["state"], row["model_version"], row["as_of"], row["shadow"],
             view_rows.log_loss(row["probability"]))
            for row in rows
            if winners.get(row["event_key"]) == row["slot"]
        ]  # fmt: skip

    def _reference_rows(self, view: View, filters: Filters) -> list[Row]:
        """As they are now, without the venues that were only met later and have no name."""
        rows = self._stored(view, filters)
        if view.name != "venues" or self.instant is None or all(name is not None for _, _, name, _ in rows):
            return rows
        table = self._table(venues_statement(self.instant))
        met = set(zip(*(table.column(name).to_pylist() for name in ("source", "code")), strict=True))
        return [row for row in rows if row[2] is not None or row[:2] in met]

    def _known(self, statement: str) -> list[KnownEvent]:
        table = self._table(statement)
        return known_events({name: table.column(name).to_pylist() for name in table.column_names}, self.instant)

    def _cards(self, events: Sequence[KnownEvent]) -> list[LineUp]:
        """The cards of the days on which a cancelled one of these events may take place."""
        line_ups = (line_up_of(event) for event in events if event.status == "cancelled")
        cancelled = [each for each in line_ups if each is not None]
        if not cancelled:
            return []
        dates = {each.date + dt.timedelta(days=days) for each in cancelled for days in range(1, POSTPONED_DAYS + 1)}
        later = self._known(cards_statement(dates, {each.source for each in cancelled}))
        return [each for event in later if (each := line_up_of(event)) is not None]

    def _parts(self, filters: Filters) -> Iterator[Filters]:
        """The filters for one chunk of days after the other."""
        first, last = filters.days
        if filters.events:
            yield filters
            return
        (stored,) = self._table(DATES).to_pylist()
        if stored["first"] is None:
            return
        days = Days(max(first or stored["first"], stored["first"]), min(last or stored["last"], stored["last"]))
        for part in chunks(days):
            yield replace(filters, days=part)

    def _venue_names(self) -> dict[tuple[str, str], str | None]:
        return {(source, code): name for source, code, name, _ in self._stored(VIEWS["venues"], Filters())}

    def _stored(self, view: View, filters: Filters) -> list[Row]:
        """The rows of a view as it is now."""
        table = self._table(statement_of(view, filters, view.names))
        return [row for batch in table.to_batches() for row in rows_of_batch(encode(batch, view.columns))]

    def _table(self, statement: str) -> pa.Table:
        snapshot = self._read(statement)
        self._read_at = self._read_at or snapshot.as_of
        return snapshot.table


def sorted_rows(view: View, rows: list[Row]) -> list[Row]:
    """In the order of the view's key, unknown values last."""
    at = [view.names.index(name) for name in view.key]
    return sorted(
        rows, key=lambda row: [(row[index] is None, "" if row[index] is None else row[index]) for index in at]
    )


def _equal(view: View, filters: Filters, rows: list[Row]) -> list[Row]:
    wanted = [(view.names.index(name), set(values)) for name, values in filters.equals.items() if name in view.names]
    return [row for row in rows if all(row[at] in values for at, values in wanted)] if wanted else rows


def rows_of_batch(batch: pa.RecordBatch) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
