"""Compares predicted probabilities of winning with results: calibration, and paired differences of log-loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from headrace.frames.accessor.columns import require
from headrace.frames.errors import BadArgument, suggestion
from services.predictor.evaluation.bootstrap import clusters_of, mean_difference, ratio
from services.predictor.evaluation.measures import MIN_PROBABILITY

BASE = "base"
_PREDICTION = ["event_key", "model_version", "state", "slot"]


def require_bins(bins: int) -> None:
    """Raises BadArgument."""
    if not 1 <= bins <= 1000:
        raise BadArgument(f"bins: expected 1 to 1000, got {bins}")


def require_predictions(frame: pd.DataFrame) -> None:
    """Raises InvalidFrame if the frame lacks columns of predictions."""
    require(frame, "predictions", [*_PREDICTION, "head", "class", "probability", "as_of"])


def calibration(frame: pd.DataFrame, results: pd.DataFrame, bins: int) -> pd.DataFrame:
    """One row per bin of equal width that has predictions; intervals of 95 %, clustered by day and venue."""
    require_bins(bins)
    scored = scored_slots(frame, results)
    number = np.minimum((scored["probability"].to_numpy() * bins).astype(np.int64), bins - 1)
    rows = []
    for index in np.unique(number):
        part = scored[number == index]
        frequency = ratio(part["won"].to_numpy(np.float64), np.ones(len(part)), clusters(part))
        rows.append((
            index / bins, (index + 1) / bins, len(part), part["probability"].mean(), frequency.mean, frequency.low,
            frequency.high,
        ))  # fmt: skip
    names = ["from", "to", "predictions", "probability", "frequency", "low", "high"]
    return pd.DataFrame(rows, columns=names).astype(
        {"predictions": "int64"} | dict.fromkeys(set(names) - {"predictions"}, "float64")
    )


def against(frame: pd.DataFrame, other: str, results: pd.DataFrame) -> pd.DataFrame:
    """One row per model and state: its log-loss of the winner minus that of `other`, on the same events."""
    scored = scored_slots(frame, results)
    losses = event_losses(scored)
    models = sorted(losses["model_version"].unique())
    if other == BASE:
        rivals = losses.assign(loss=base_losses(scored, results))
    elif other in models:
        rivals = losses[losses["model_version"] == other]
    else:
        raise BadArgument(f"against: there is no model {other!r} in the frame{suggestion(other, [BASE, *models])}")
    rows = list(_differences(losses, rivals, other))
    names = ["model_version", "state", "events", "log_loss", "other_log_loss", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def scored_slots(frame: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """The last prediction of each event, model and state, as P(win) of each slot with `won`, day and venue.

    Only events with exactly one winner, whose winner was predicted, count.
    """
    require_predictions(frame)
    require(results, "results", ["event_key", "slot", "place", "date", "venue"])
    wins = frame[(frame["head"] == "result").to_numpy() & frame["slot"].notna().to_numpy()]
    last = wins.groupby(_PREDICTION[:3], observed=True)["as_of"].transform("max")
    wins = wins[wins["as_of"] == last]
    winners = results[(results["place"] == 1).fillna(False).to_numpy(dtype=bool)]
    single = winners[~winners["event_key"].duplicated(keep=False)]
    joined = wins.merge(
        single[["event_key", "slot", "date", "venue"]].rename(columns={"slot": "winner"}), on="event_key"
    )
    texts = {name: joined[name].astype("str") for name in ("model_version", "state")}
    scored = joined.assign(won=(joined["slot"] == joined["winner"]).to_numpy(dtype=bool), **texts)
    complete = scored.groupby(_PREDICTION[:3])["won"].transform("any")
    return scored[complete.to_numpy(dtype=bool)].drop_duplicates(_PREDICTION).reset_index(drop=True)


def event_losses(scored: pd.DataFrame) -> pd.DataFrame:
    """One row per event, model and state with `loss`, in nats."""
    won = scored[scored["won"]]
    loss = -np.log(np.maximum(won["probability"].to_numpy(np.float64), MIN_PROBABILITY))
    return won[["event_key", "model_version", "state", "date", "venue", "winner"]].assign(loss=loss)


def base_losses(scored: pd.DataFrame, results: pd.DataFrame) -> Any:
    """The base rate is each slot's share of wins before the first predicted day, with one win added to each slot."""
    earlier = results[
        (results["date"] < scored["date"].min()).to_numpy() & (results["place"] == 1).fillna(False).to_numpy(dtype=bool)
    ]
    wins = earlier["slot"].value_counts()
    weight = scored["slot"].map(wins).fillna(0).to_numpy(np.float64) + 1.0
    share = weight / scored.assign(weight=weight).groupby(_PREDICTION[:3])["weight"].transform("sum").to_numpy()
    won = scored["won"].to_numpy()
    return -np.log(np.maximum(share[won], MIN_PROBABILITY))


def _differences(losses: pd.DataFrame, rivals: pd.DataFrame, other: str) -> Iterator[tuple[Any, ...]]:
    keys = ["event_key", "state"] if other != BASE else ["event_key", "state", "model_version"]
    pairs = losses.merge(rivals[[*keys, "loss"]].rename(columns={"loss": "other_loss"}), on=keys)
    for (model, state), part in pairs.groupby(["model_version", "state"]):
        if model == other:
            continue
        difference = mean_difference((part["loss"] - part["other_loss"]).to_numpy(np.float64), clusters(part))
        yield (model, state, len(part), part["loss"].mean(), part["other_loss"].mean(), *difference)


def clusters(part: pd.DataFrame) -> Any:
    day = part["date"].to_numpy("datetime64[D]").astype(np.int64)
    return clusters_of(day, part["venue"].to_numpy(np.int64))
