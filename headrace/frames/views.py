"""One method per view. Generated from the catalogue by tests/headrace/frames/generated_source.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pandas as pd

from headrace.frames.arguments import with_explained_arguments
from headrace.frames.catalogue import VIEWS, View
from headrace.frames.days import Day, Days, days_of
from headrace.frames.query import Filters, filters_of

Integers = int | Sequence[int] | None
Texts = str | Sequence[str] | None
Columns = Sequence[str] | None


@with_explained_arguments
class Views(ABC):
    """The views as methods; a subclass says where the rows come from.

    Days: the first argument is a day, a month, a year or FIRST/LAST ("2026-01-31", "2026-01", "2026",
    "2026-01-05/2026-01-09"), both ends included; or `day`, or `from_day` and `to_day`. `venue`, `source` and `event`
    take one value or several. `columns` selects columns and their order.

    Every method raises BadArgument for a bad value, UnknownArgument for a misspelt argument, UnknownColumn for a bad
    column, and what the connection raises.
    """

    @abstractmethod
    def view_frame(self, view: View, filters: Filters, columns: Columns) -> pd.DataFrame:
        """The selected rows in the order of the view's key, with the catalogue's data types."""

    def _view(self, name: str, days: Days, columns: Columns, **selection: Any) -> pd.DataFrame:
        return self.view_frame(VIEWS[name], filters_of(VIEWS[name], days, **selection), columns)

    def sessions(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per session: the events of one venue on one day.

        Days, venues and sources select by the session's own date, venue and source.

        Columns:
            session_key (str): Key of the session: source:date:venue.
            source (category): Name of the source.
            date (datetime64[s]): Day of the session in the source's calendar.
            venue (Int32): Code of the venue; the view `venues` has its name.
            title (str): Title of the session. Missing: the source has none.
            status (category): State of its events: `settled in part` if others are cancelled.
            venue_name (str): Name of the venue. Missing: not named yet.
            grade (Int32): Code of the grade; see `grades`. Missing: the source has none.

        Example: `hr.sessions("2026-01", venue=7)`
        """
        return self._view("sessions", days_of(span, day, from_day, to_day), columns, venue=venue, source=source)

    def events(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per event.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            session_key (str): Key of the session: source:date:venue.
            number (Int32): Number of the event in its session, from 1.
            scheduled_at (datetime64[us, UTC]): Start of the event (boat races: betting deadline). Missing: not
                announced.
            status (category): State of the event. `postponed`: cancelled, and the same card follows within three
                days.
            version (Int32): Number of facts about the event so far that changed it, from 1.
            known_at (datetime64[us, UTC]): When its newest fact could be known. Missing: never stated.
            title (str): Title of the event. Missing: the source has none.
            distance_m (Int32): Length of the course. Unit: m. Missing: not announced.
            technique (Int32): Code of the winning technique; see `techniques`. Missing: no result.
            conditions (object): Conditions in the result, for example weather and wind. Missing: no result.
            observed_conditions (object): Conditions before the event, with the same fields. Missing: not
                observed.
            missing_markets (object): Markets whose payout rows the source lacks. Missing: no result.
            listed_at (datetime64[us, UTC]): When the card could be known. Missing: no card.
            observed_at (datetime64[us, UTC]): When the observation could be known. Missing: not observed.
            settled_at (datetime64[us, UTC]): When the result could be known. Missing: no result.

        Example: `hr.events("2026-01-31", venue=[7, 12])`
        """
        return self._view(
            "events", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def entities(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per entity (boat races: racer).

        Days, venues and sources select by events in which the entity has an entry.

        In `hr.as_of(...)`, all days are read, because each card may be the newest of an entity: about 1 s of CPU
        time per 5,000 events in the database.

        Columns:
            entity_key (str): Key of the entity: source:number.
            name (str): Name. Missing: not named yet.
            categories (object): Codes of what it belongs to, by name: class, branch, birthplace.
            known_at (datetime64[us, UTC]): When this information could be known.

        Example: `hr.entities("2026-01-31")  # those with an entry in an event of the day`
        """
        return self._view(
            "entities", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def entity_history(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        attribute: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per value of an attribute of an entity, with the time for which it was valid.

        Days, venues and sources select by events in which the entity has an entry.

        Columns:
            entity_key (str): Key of the entity: source:number.
            attribute (category): Name of the attribute: name, class, branch, weight_kg and the like.
            value (object): Its value.
            valid_from (datetime64[us, UTC]): From when a card stated the value.
            valid_to (datetime64[us, UTC]): From when a card stated another. Missing: it is still valid.

        Example: `hr.entity_history("2026-01-31", attribute="class")`
        """
        return self._view(
            "entity_history",
            days_of(span, day, from_day, to_day),
            columns,
            venue=venue,
            source=source,
            event=event,
            attribute=attribute,
        )

    def entries(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per entry of an event: who takes part in which slot, and what the card says.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            slot (Int16): Number of the entry in the event, from 1.
            entity_key (str): Key of the entity. Missing: the slot is empty.
            measures (object): Numbers of the card by name, for example rates of earlier places.
            categories (object): Codes of the card by name.

        Example: `hr.entries("2026-01-05/2026-01-09").headrace.wide()`
        """
        return self._view(
            "entries", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def observations(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per entry that was observed before its event.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            slot (Int16): Number of the entry in the event, from 1.
            course (Int16): Lane in the trial, from 1. Missing: not observed.
            measures (object): Measurements by name, for example the exhibition time in s.

        Example: `hr.observations(event="boatrace:2026-01-31:07:04")`
        """
        return self._view(
            "observations", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def outcomes(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per entry of an event with a result.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            slot (Int16): Number of the entry in the event, from 1.
            place (Int16): Place, from 1. Missing: no place: `code` says why, or the event has no result.
            code (Int16): Code of an entry without a place; see `place_codes`. Missing: it has a place.
            course (Int16): Lane from which the entry started, from 1. Missing: not known.
            start_timing_s (float64): Start after the signal; negative: too early. Unit: s. Missing: not known.
            refunded (bool): Whether stakes on the entry were returned.

        Example: `hr.outcomes("2026-01", columns=["event_key", "slot", "place"])`
        """
        return self._view(
            "outcomes", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def transactions(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        market: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per selection that paid.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            market (category): Kind of bet; see `markets`.
            selection (str): Winning combination of slots: `1-2-3` is ordered, `1=2=3` is not.
            amount (Int64): Payout. Unit: currency of the source per 100 staked.
            ordinal (Int16): Position among the rows of the market, from 1.

        Example: `hr.transactions("2026-01", market="trifecta")`
        """
        return self._view(
            "transactions",
            days_of(span, day, from_day, to_day),
            columns,
            venue=venue,
            source=source,
            event=event,
            market=market,
        )

    def return_rates(
        self, *, source: Texts = None, scope: Texts = None, market: Texts = None, columns: Columns = None
    ) -> pd.DataFrame:
        """One row per market and group: what bets on all selections cost and paid back, over all settled events.

        Days, venues and sources select by the source.

        In `hr.as_of(...)`, they are summed again over all days until the instant: about 2 s of CPU time per 5,000
        events in the database.

        Columns:
            source (category): Name of the source.
            scope (category): Kind of group.
            key (str): Venue, slot, entity key, month (2026-01) or selection; empty for `all`.
            market (category): Kind of bet.
            bets (Int64): Number of bets.
            staked (Int64): Sum of stakes. Unit: currency of the source, 100 per bet.
            returned (Int64): Sum of payouts. Unit: currency of the source.
            rate (float64): Returned per unit staked. Unit: 1. Missing: nothing was staked.
            as_of (datetime64[us, UTC]): When the newest result in it could be known.

        Example: `hr.return_rates(scope="venue", market="win")`
        """
        return self._view("return_rates", Days(), columns, source=source, scope=scope, market=market)

    def predictions(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        model: Texts = None,
        model_version: Texts = None,
        state: Texts = None,
        shadow: bool | None = None,
        head: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per predicted class: of an event, or of one of its slots.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        `model="live"`: the model that made the newest prediction of each source, shadows aside; in `hr.as_of(...)`, the
        newest by that instant. `model` also takes versions, as `model_version` does.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            slot (Int16): Number of the entry, from 1. Missing: the class is of the event: head `trend`.
            head (category): What is predicted: winner, first three, trend of the payout, start.
            class (category): The class that has this probability.
            probability (float64): Its probability. Unit: 1.
            model_version (category): Version of the model.
            as_of (datetime64[us, UTC]): When the newest fact of the prediction became known.
            state (category): What was known: the card, or card and observation.
            shadow (bool): Whether a model made it that only observes.

        Example: `hr.predictions("2026-01", model="live", head="result")`
        """
        return self._view(
            "predictions",
            days_of(span, day, from_day, to_day),
            columns,
            venue=venue,
            source=source,
            event=event,
            model=model,
            model_version=model_version,
            state=state,
            shadow=shadow,
            head=head,
        )

    def decisions(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        model: Texts = None,
        model_version: Texts = None,
        state: Texts = None,
        shadow: bool | None = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per prediction with a policy: the bet that it would place. A decision aid; no claim of profit.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        `model="live"`: the model that made the newest prediction of each source, shadows aside; in `hr.as_of(...)`, the
        newest by that instant. `model` also takes versions, as `model_version` does.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            session_key (str): Key of the session: source:date:venue.
            state (category): What was known: the card, or card and observation.
            model_version (category): Version of the model.
            as_of (datetime64[us, UTC]): When the newest fact of the prediction became known.
            shadow (bool): Whether a model made it that only observes.
            decision (object): Chosen action, and each action's value: mean return of one unit staked, minus 1.

        Example: `hr.decisions("2026-01", state="observation")`
        """
        return self._view(
            "decisions",
            days_of(span, day, from_day, to_day),
            columns,
            venue=venue,
            source=source,
            event=event,
            model=model,
            model_version=model_version,
            state=state,
            shadow=shadow,
        )

    def prediction_scores(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        model: Texts = None,
        model_version: Texts = None,
        state: Texts = None,
        shadow: bool | None = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per prediction of an event with exactly one winner.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        `model="live"`: the model that made the newest prediction of each source, shadows aside; in `hr.as_of(...)`, the
        newest by that instant. `model` also takes versions, as `model_version` does.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            state (category): What was known: the card, or card and observation.
            model_version (category): Version of the model.
            as_of (datetime64[us, UTC]): When the newest fact of the prediction became known.
            shadow (bool): Whether a model made it that only observes.
            log_loss (float64): Negative logarithm of the winner's probability. Unit: nats.

        Example: `hr.prediction_scores("2026-01", shadow=False)`
        """
        return self._view(
            "prediction_scores",
            days_of(span, day, from_day, to_day),
            columns,
            venue=venue,
            source=source,
            event=event,
            model=model,
            model_version=model_version,
            state=state,
            shadow=shadow,
        )

    def regressions(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per value that a later fact lacks. The earlier value is kept.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            kind (category): Kind of the fact.
            field (category): Name of the field; the fields of entries begin with the slot.
            kept (str): The kept value, as JSON.
            known_at (datetime64[us, UTC]): When the later fact could be known.
            record_id (str): Id of the record that stated it.

        Example: `hr.regressions()`
        """
        return self._view(
            "regressions", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def corrections(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per value that a later fact changed.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            kind (category): Kind of the fact.
            field (category): Name of the field; the fields of entries begin with the slot.
            old (str): The value before, as JSON.
            new (str): The value after, as JSON. Missing: the value was withdrawn.
            known_at (datetime64[us, UTC]): When the later fact could be known.
            record_id (str): Id of the record that stated it.

        Example: `hr.corrections()`
        """
        return self._view(
            "corrections", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def parked(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per fact that waits until its event is listed.

        Days, venues and sources select by the parts of the event's key.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            kind (category): Kind of the record.
            reason (category): Why it waits.
            parked_at (datetime64[us, UTC]): Since when.
            record_id (str): Id of the record that stated it.

        Example: `hr.parked()`
        """
        return self._view(
            "parked", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def dead_letters(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        event: Texts = None,
        service: Texts = None,
        error: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per record that a service could not handle.

        Days, venues and sources select by the UTC day of `failed_at`.

        Columns:
            service (category): The service.
            topic (category): Topic of the dead letter.
            partition (Int32): Its partition.
            offset (Int64): Its offset.
            key (str): Key of the record.
            error (category): Class of the error.
            message (str): The error's message.
            attempts (Int32): How often the record was tried.
            failed_at (datetime64[us, UTC]): When it failed for the last time.
            record_id (str): Id of the record that stated it.

        Example: `hr.dead_letters("2026-01-31", service="cleaner")`
        """
        return self._view(
            "dead_letters", days_of(span, day, from_day, to_day), columns, event=event, service=service, error=error
        )

    def results(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row per entry of an event with a result, with event, session, entity and payouts beside it.

        Days, venues and sources select by date, venue and source of the event's session, or keys of events.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            session_key (str): Key of the session: source:date:venue.
            source (category): Name of the source.
            date (datetime64[s]): Day of the session in the source's calendar.
            venue (Int32): Code of the venue; the view `venues` has its name.
            number (Int32): Number of the event in its session, from 1.
            scheduled_at (datetime64[us, UTC]): Start of the event (boat races: betting deadline). Missing: not
                announced.
            status (category): State of the event. `postponed`: cancelled, and the same card follows within three
                days.
            slot (Int16): Number of the entry in the event, from 1.
            entity_key (str): Key of the entity. Missing: the slot is empty.
            place (Int16): Place, from 1. Missing: no place: `code` says why, or the event has no result.
            code (Int16): Code of an entry without a place; see `place_codes`. Missing: it has a place.
            course (Int16): Lane from which the entry started, from 1. Missing: not known.
            start_timing_s (float64): Start after the signal; negative: too early. Unit: s. Missing: not known.
            refunded (bool): Whether stakes on the entry were returned.
            win_amount (Int64): Payout on the slot in the market `win`; 0 if it paid nothing. Unit: currency of
                the source per 100 staked. Missing: the market does not count: no payout, a missing payout row, a
                refunded entry, or the event is not settled.
            place_amount (Int64): The same in the market `place`. Unit: currency of the source per 100 staked.
                Missing: the market does not count: no payout, a missing payout row, a refunded entry, or the
                event is not settled.

        Example: `hr.results("2026-01").headrace.returns(by=["venue", "slot"], market="win")`
        """
        return self._view(
            "results", days_of(span, day, from_day, to_day), columns, venue=venue, source=source, event=event
        )

    def venues(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: places of events.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.venues()`
        """
        return self._view("venues", Days(), columns, source=source)

    def markets(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: kinds of bets.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.markets()`
        """
        return self._view("markets", Days(), columns, source=source)

    def grades(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: grades of sessions.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.grades()`
        """
        return self._view("grades", Days(), columns, source=source)

    def classes(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: classes of entities.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.classes()`
        """
        return self._view("classes", Days(), columns, source=source)

    def weathers(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: kinds of weather.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.weathers()`
        """
        return self._view("weathers", Days(), columns, source=source)

    def wind_directions(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: directions of wind.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.wind_directions()`
        """
        return self._view("wind_directions", Days(), columns, source=source)

    def techniques(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: winning techniques.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.techniques()`
        """
        return self._view("techniques", Days(), columns, source=source)

    def place_codes(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: reasons for an entry without a place.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.place_codes()`
        """
        return self._view("place_codes", Days(), columns, source=source)

    def branches(self, *, source: Texts = None, columns: Columns = None) -> pd.DataFrame:
        """Reference data: branches to which entities belong.

        Days, venues and sources select by the source.

        Columns:
            source (category): Name of the source.
            code (str): Code in the columns of other views.
            name (str): Name in the source's language. Missing: the code was met and is not named yet.
            attributes (object): Further properties by name.

        Example: `hr.branches()`
        """
        return self._view("branches", Days(), columns, source=source)
