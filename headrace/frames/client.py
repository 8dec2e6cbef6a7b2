"""The client: connects to a database and gives the views as DataFrames, Arrow tables or polars DataFrames."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import pyarrow as pa

from headrace.frames import origins, typed
from headrace.frames.arguments import explained, with_explained_arguments
from headrace.frames.as_of.instant import instant_of
from headrace.frames.as_of.past import Past
from headrace.frames.as_of.snapshot import AsOf, history_frame, with_attrs
from headrace.frames.backtests import SLOT, read_backtest, with_results
from headrace.frames.catalogue import EVENTS, PREDICTIONS, RESULTS, SERVICES, VIEWS, View
from headrace.frames.connection import ReaderConnection, Snapshot, connection_of
from headrace.frames.days import EXAMPLES, Day, Days, days_of
from headrace.frames.errors import BadArgument, ExtraMissing, UnknownView, suggestion
from headrace.frames.live_models import with_live_models
from headrace.frames.packed import packed_statement, unpack
from headrace.frames.packing import packed_views
from headrace.frames.query import Filters, Values, columns_of, filters_of, statement_of
from headrace.frames.views import Columns, Integers, Texts, Views
from headrace.packs.manifest import PackManifest
from headrace.packs.writing import write_pack
from headrace.quality.report import QualityReport, ReportSpan, build_report
from headrace.quality.threshold_file import read_thresholds

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_S = 60.0
LONGEST_HOURS = 24 * 7


@explained
def connect(
    database: str | None = None,
    *,
    data_dir: Path | str | None = None,
    password_file: Path | str | None = None,
    timeout_s: float = TIMEOUT_S,
    zone: str | None = None,
) -> Headrace:
    """Connect to a database as the reader. Starts nothing, and can write nothing.

    database: PostgreSQL URL. Without it, the database that `headrace` would use here: HEADRACE_* in the environment,
    headrace.yaml, else the embedded server of `data_dir` (.headrace).
    password_file: file with the password, for a URL without one. timeout_s: limit of each query, in seconds.
    zone: time zone of all times in frames, e.g. "Asia/Tokyo"; UTC without it.

    Raises EmbeddedServerNotRunning, NoDatabase, DatabaseUnavailable, BadArgument.

    Example:
        hr = connect()
        hr.events("2026-01-31", venue=7)
    """
    _require_zone(zone)
    connection = connection_of(database, data_dir, password_file, timeout_s)
    try:
        connection.open()
    except BaseException:
        connection.close()
        raise
    return Headrace(connection, zone)


@with_explained_arguments
class Headrace(Views):
    """The views of one database. Each call reads one snapshot. Not for several threads at a time.

    A frame's `attrs` have the query (`query`), the time of the snapshot by the database's clock (`as_of`, ISO 8601) and
    the version of Headrace (`version`). `origin` is an opaque name of the database, without its address: by it the
    accessor finds results, over a connection of its own.
    """

    def __init__(self, connection: ReaderConnection, zone: str | None = None) -> None:
        self._connection = connection
        self._zone = zone
        again = connection.opener()
        self._origin = origins.remember(connection.conninfo(), lambda: Headrace(again()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later call opens it again."""
        self._connection.close()

    def view_frame(self, view: View, filters: Filters, columns: Columns) -> pd.DataFrame:
        """The selected rows of a view, in the order of its key."""
        names = columns_of(view, columns)
        filters = with_live_models(filters, self._connection.read)
        snapshot = self._read(view, filters, names)
        frame = typed.frame_of(snapshot.table, typed.columns_named(view, names), self._zone)
        return with_attrs(frame, {"view": view.name, **filters.texts()}, snapshot.as_of, self._origin)

    def table(
        self,
        view: str,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        columns: Columns = None,
        **selection: Values | None,
    ) -> pa.Table:
        """The rows of a view as an Arrow table: categories as dictionaries, JSON as text, times in UTC.

        Example: `hr.table("entries", "2026-01", venue=7)`
        """
        known = _view_named(view)
        given: dict[str, Any] = {key: value for key, value in selection.items() if value is not None}
        filters = filters_of(known, days_of(span, day, from_day, to_day), **given)
        names = columns_of(known, columns)
        return self._read(known, with_live_models(filters, self._connection.read), names).table

    def polars(
        self,
        view: str,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        columns: Columns = None,
        **selection: Values | None,
    ) -> pl.DataFrame:
        """The rows of a view as a polars DataFrame, from the same Arrow table. Raises ExtraMissing without polars.

        Example: `hr.polars("entries", "2026-01", venue=7)`
        """
        try:
            import polars as pl  # noqa: PLC0415 - optional: the extra `frames` does not install it
        except ImportError:
            raise ExtraMissing("hr.polars needs polars: pip install polars") from None
        table = self.table(view, span, day=day, from_day=from_day, to_day=to_day, columns=columns, **selection)
        return pl.DataFrame(table)

    def sql(self, statement: str) -> pd.DataFrame:
        """The rows of one SELECT on the views. Read-only, whatever the statement calls.

        Integers are Int16, Int32 or Int64, floats and `numeric` float64, text `str`, times datetime64[us, UTC], dates
        datetime64[s], JSON and arrays objects. Cast a sum of integers to keep it one: `sum(amount)::bigint`.

        Example: `hr.sql("select market, sum(amount)::bigint as paid from transactions group by market")`
        """
        snapshot = self._connection.read(statement)
        frame = typed.frame_of_query(snapshot.table, self._zone)
        return with_attrs(frame, {"sql": statement}, snapshot.as_of, self._origin)

    def quality(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        thresholds: Path | str | None = None,
    ) -> QualityReport:
        """What is missing, odd or doubled in the rows of some days, and which thresholds that breaks (docs/quality.md).

        The result has `findings` and `measures` (DataFrames), `is_good`, `html()` and `json()`; a notebook shows its
        page. `thresholds`: a file that changes the shipped ones. Also reads the month before, to compare with it.

        Raises BadArgument without a first and a last day, ConfigError for an invalid file.

        Example: `hr.quality("2026-01").findings`
        """
        days = days_of(span, day, from_day, to_day)
        if days.first is None or days.last is None:
            raise BadArgument(f"quality needs a first and a last day, such as {EXAMPLES}")
        limits = read_thresholds(None if thresholds is None else Path(thresholds))
        return build_report(self, ReportSpan(days.first, days.last, venue, source), limits)

    def backtest(self, file: Path | str, *, source: str = "boatrace") -> pd.DataFrame:
        """The CSV file that `headrace backtest --out FILE` wrote, with the results of `source` beside it.

        Columns: date; venue; number; slot; p_win and p_top3 (probabilities); bet (whether the policy bets on the slot);
        won and win_amount (payout per 100 staked), missing if the event has no result with exactly one winner here.

        Example: `hr.backtest("march.csv").headrace.by("month", "venue", "favourite")`
        """
        rows = read_backtest(Path(file))
        days = Days() if rows.empty else Days(rows["date"].min().date(), rows["date"].max().date())
        filters = filters_of(RESULTS, days, source=source)
        results = self.view_frame(RESULTS, filters, [*SLOT, "event_key", "place", "win_amount"])
        frame = with_results(rows, results)
        frame.attrs = results.attrs | {"query": {"backtest": str(file), "source": source}}
        return frame

    def pack(
        self,
        span: Day | None = None,
        *,
        to: Path | str,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
    ) -> PackManifest:
        """Write a data pack: the views of these days as Parquet, from one snapshot, with a manifest and a dictionary.

        to: a new or empty folder, or an fsspec URL such as s3://bucket/prefix. Returns the manifest. Raises BadPack.

        Example: `hr.pack("2026-01", to="data/")`
        """
        days = days_of(span, day, from_day, to_day)
        with psycopg.connect(self._connection.conninfo(), autocommit=True) as connection:
            return write_pack(connection, packed_views(days), days, str(to))

    def as_of(self, instant: str | dt.datetime) -> AsOf:
        """The same methods, with what was known at an instant: later corrections and results are not there yet.

        instant: with a time zone, as text ("2026-01-31T12:00+09:00") or a datetime. Raises BadArgument without one.

        Example: `hr.as_of("2026-01-31T12:00+09:00").events("2026-01-31")`
        """
        return AsOf(self._connection.read, instant_of(instant), self._zone, self._origin)

    def history(self, event: str) -> pd.DataFrame:
        """One row per value that a version of an event's facts states first, changes or lacks, in the order of time.

        Columns:
            event_key (str): Key of the event: source:date:venue:number.
            kind (category): Kind of the fact: listed, observed or settled.
            field (category): Name of the field, e.g. entries.3.measures.weight_kg.
            previous (str): The value before. Missing: it was unknown.
            value (str): The value from this version on. Missing: the version lacks or withdraws it.
            change (category): `first`: the value was unknown. `correction`: it is another one. `update`: a provisional
                status became final, or a derived value changed. `regression`: the version lacks it; `previous` stays
                valid. `replay`: the same record was cleaned again, with another result.
            known_at (datetime64[us, UTC]): When the version could be known.
            version (Int32): Number of the version among those of its kind, in the order of arrival.
            record_id (str): Id of the record that stated it.
            revision (category): `0` for live records, else the operation that replayed the record.
            document (category): SHA-256 of the document that stated it: its name in the archive.

        Raises BadArgument if the event is not listed.

        Example: `hr.history("boatrace:2026-01-31:07:04").query("change == 'correction'")`
        """
        return history_frame(self._connection.read, event, self._zone)

    def features(
        self,
        span: Day | None = None,
        *,
        day: Day | None = None,
        from_day: Day | None = None,
        to_day: Day | None = None,
        venue: Integers = None,
        source: Texts = None,
        event: Texts = None,
        state: str = "observation",
        model: str | None = "live",
        as_of: str | dt.datetime | None = None,
        past_starts: bool = False,
        models_dir: Path | str | None = None,
    ) -> pd.DataFrame:
        """The inputs of a model, to the bit: one row per event and slot, computed by the predictor's own code.

        Each event is seen as of its own instant: the card, for `state="observation"` also the observation, and the
        results of earlier events that were known by then. Events that were not known in this state are left out.

        model: "live", a version or its unique end, for standardised inputs (float32; an unknown value is 0, and has a
        flag); None for raw values in the units of the views (float64; an unknown value is NaN), which need no model.
        as_of: an instant with a time zone. Facts that became known later are not there; without it, later corrections
        are. past_starts: also the tokens of the last starts, start_1_... is the newest. models_dir: directory of the
        models, instead of that of the settings.

        Columns: event_key (str), slot (Int16), course (Int16; missing: not observed), then one column per feature. With
        a model also venue_index (int32; 0: unknown to the model) and feature_hash (str), the hash in the records of
        predictions from the same inputs. `attrs["groups"]` has the group of each feature: card, observation or history.

        Reads all events until the last day, because the history rests on them: about 5 s of CPU time per 5,000 events
        in the database, with and without `as_of`.

        Example: `hr.features(day="2026-01-31", as_of="2026-01-31T12:00+09:00")`
        """
        from headrace.frames import features  # noqa: PLC0415 - imports the predictor's code

        filters = filters_of(EVENTS, days_of(span, day, from_day, to_day), venue=venue, source=source, event=event)
        past = Past(self._connection.read, None if as_of is None else instant_of(as_of))
        encoding = None
        if model is not None:
            folder = Path(models_dir) if models_dir else features.models_dir_from(self._connection.data_dir)
            encoding = features.model_encoding(folder, model)
        return features.features_frame(past, features.FeatureRequest(filters, state, encoding, past_starts))

    def lag_history(self, hours: float = 6.0) -> pd.DataFrame:
        """What waited for each service in the last hours, one row per minute, service and topic. Kept for a week.

        Columns:
            at (datetime64[us, UTC]): The minute.
            service (category): The service.
            topic (category): The topic that it reads.
            records (Int64): Records that waited.
            seconds (float64): Age of the oldest of them, 0 if there was none. Unit: s. Missing: not known.
            position (Int64): Sum over the partitions of the offsets that the service had handled.

        Example: `hr.lag_history(24).query("service == 'loader'")`
        """
        if not 0 < hours <= LONGEST_HOURS:
            raise BadArgument(f"hours: expected more than 0 and at most {LONGEST_HOURS}, got {hours}")
        columns = "at, service, topic, records, seconds, position"
        since = f"now() - interval '{hours * 3600:.0f} seconds'"
        frame = self.sql(f"SELECT {columns} FROM ops.lag_history WHERE at >= {since} ORDER BY at, service, topic")
        services = pd.CategoricalDtype(pd.Index(SERVICES, dtype="str"))
        return frame.astype({"service": services, "topic": "category"})

    def _read(self, view: View, filters: Filters, names: Sequence[str]) -> Snapshot:
        columns = typed.columns_named(view, names)
        if view is PREDICTIONS:
            heads = filters.equals.get("head", ())
            return self._connection.read(packed_statement(filters), lambda batch: unpack(batch, columns, heads))
        return self._connection.read(statement_of(view, filters, names), lambda batch: typed.encode(batch, columns))


def _view_named(name: str) -> View:
    if name not in VIEWS:
        raise UnknownView(f"there is no view {name!r}{suggestion(name, VIEWS)}")
    return VIEWS[name]


def _require_zone(zone: str | None) -> None:
    try:
        if zone is not None:
            ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise BadArgument(f'zone: expected the name of a time zone, such as "Asia/Tokyo"; got {zone!r}') from None
