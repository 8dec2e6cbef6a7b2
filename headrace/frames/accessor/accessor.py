"""The accessor `frame.headrace`: further methods of frames. A frame holds no connection."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from headrace.frames.accessor import scoring, widening
from headrace.frames.accessor.betting import returns
from headrace.frames.accessor.grouping import by_groups
from headrace.frames.accessor.validation import validate
from headrace.frames.arguments import with_explained_arguments
from headrace.frames.origins import results_of


@pd.api.extensions.register_dataframe_accessor("headrace")
@with_explained_arguments
class HeadraceAccessor:
    """Methods of a frame of Headrace. Each returns a new frame and raises InvalidFrame if it lacks a needed column.

    Intervals (`low`, `high`) are 95 % bootstrap intervals over 2,000 draws of whole days of a venue, because the events
    of one venue on one day are not independent.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def wide(self) -> pd.DataFrame:
        """JSON columns (measures, categories, conditions ...) as one column per name.

        Numbers become float64, NaN if unknown; text becomes a category. A name that occurs twice gets the name of its
        JSON column as prefix.

        Example: `hr.entries("2026-01-31").headrace.wide()`
        """
        return widening.wide(self._frame)

    def returns(self, by: Sequence[str] | str = (), market: str = "win") -> pd.DataFrame:
        """Mean return of one unit staked on every entry, by groups of a frame of `hr.results(...)`.

        Columns: those of `by`; bets; hits (bets that paid); return (1 returns the stake); low, high. Refunded entries,
        void events and missing payouts do not count, as in the view `return_rates`.

        Example: `hr.results("2026-01").headrace.returns(by=["venue", "slot"], market="win")`
        """
        return returns(self._frame, [by] if isinstance(by, str) else list(by), market)

    def calibration(self, bins: int = 10, *, results: pd.DataFrame | None = None) -> pd.DataFrame:
        """Predicted probabilities of winning against the share that won, in bins of equal width.

        Columns: from, to (limits of the bin); predictions; probability (mean); frequency (share of winners); low, high.
        The last prediction of each event, model and state counts. results: of `hr.results(...)` for the same days.
        Without it, they are read from the database of the frame; for a frame of `hr.as_of(...)`, as known then.

        Raises InvalidFrame without `results` if the frame lost its origin, e.g. by pd.concat of several calls.

        Example: `hr.predictions(model="live", state="observation").headrace.calibration(bins=10)`
        """
        scoring.require_bins(bins)
        scoring.require_predictions(self._frame)
        return scoring.calibration(self._frame, results_of(self._frame) if results is None else results, bins)

    def against(self, other: str = scoring.BASE, *, results: pd.DataFrame | None = None) -> pd.DataFrame:
        """Log-loss of the winner minus that of `other` on the same events, in nats: below 0, the model is better.

        other: the version of another model in the frame, or "base": each slot's share of wins in the results before
        the first predicted day, with one win added to each slot.
        results: as in `calibration`; for "base" they begin earlier than the predictions. Without it, "base" rests on
        all earlier days in the database of the frame: fast, but for a frame of `hr.as_of(...)` seconds per month.
        Columns: model_version; state; events; log_loss; other_log_loss; difference; low, high.

        Example: `hr.predictions("2026-03", model="live").headrace.against("base")`
        """
        scoring.require_predictions(self._frame)
        if results is None:
            results = results_of(self._frame, with_earlier_days=other == scoring.BASE)
        return scoring.against(self._frame, other, results)

    def by(self, *groups: str) -> pd.DataFrame:
        """Figures of a back-test by groups: columns such as venue or number, "month", or "favourite".

        Columns: those of the groups; events; p_favourite (mean probability of the favourite); favourite_won (share);
        log_loss of the winner in nats; bets; hits; return of one unit; intervals of the means. NaN without results.

        Example: `hr.backtest("march.csv").headrace.by("month", "venue", "favourite")`
        """
        return by_groups(self._frame, groups)

    def validate(self, view: str | None = None) -> pd.DataFrame:
        """The frame, if its columns are those of its view; else raises InvalidFrame that lists every difference.

        view: name of the view; by default that of the frame's query.

        Example: `hr.events("2026-01-31").headrace.validate()`
        """
        return validate(self._frame, view)
