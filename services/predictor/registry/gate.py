"""The promotion gate: decides from figures whether a candidate may replace the live model.

The candidate (challenger) and the live model (champion) are compared on the same events, on which neither was fitted.
The challenger passes if its log-loss is lower with confidence and its calibration is not worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # the headrace command imports Verdict, and its image has no numpy
    from services.predictor.data.events import Floats, Ints

MAX_EVENTS, MIN_EVENTS = 1000, 200
# Events of one day and venue share weather and water. With fewer such clusters, a bootstrap says nothing.
MIN_CLUSTERS = 10
DRAWS, SEED, CONFIDENCE = 2000, 6, 0.95
# The ECEs of two halves of 1,000 events differ by more than this; that of a really worse model differs far more.
ECE_TOLERANCE = 0.002
BINS = 15
# Lower bound of a probability: an outcome predicted as impossible costs 27.6 nats instead of infinity.
MIN_PROBABILITY = 1e-12

Source = Literal["stored predictions", "walk-forward"]


class PairedForecast(NamedTuple):
    """One settled event as both models predicted it. Probabilities by entry; `winner`: index of the winning entry."""

    event_key: str
    cluster: str
    winner: int
    challenger: tuple[float, ...]
    champion: tuple[float, ...]


class Comparison(NamedTuple):
    """Which models to compare: on the newest events of days after `after`, at most `most` of them."""

    challenger: str
    champion: str
    after: date
    most: int = MAX_EVENTS


@dataclass(frozen=True)
class PairedScores:
    """Log-losses (n,) in nats, and each event's cluster number (n,), one per day and venue."""

    challenger: Floats
    champion: Floats
    clusters: Ints
    challenger_ece: float
    champion_ece: float
    source: Source

    @property
    def is_sufficient(self) -> bool:
        import numpy as np  # noqa: PLC0415

        return len(self.challenger) >= MIN_EVENTS and len(np.unique(self.clusters)) >= MIN_CLUSTERS


class Verdict(BaseModel):
    """`why` gives all figures in words; `decided` is False if there were too few events for a decision."""

    model_config = ConfigDict(frozen=True)

    passed: bool
    decided: bool
    why: str
    against: str | None
    source: str
    figures: dict[str, float]


def paired_scores(forecasts: Sequence[PairedForecast], source: Source) -> PairedScores:
    import numpy as np  # noqa: PLC0415

    _, clusters = np.unique(np.array([each.cluster for each in forecasts], dtype=np.str_), return_inverse=True)
    return PairedScores(
        challenger=np.array([_loss(each.challenger, each.winner) for each in forecasts], dtype=np.float64),
        champion=np.array([_loss(each.champion, each.winner) for each in forecasts], dtype=np.float64),
        clusters=clusters.astype(np.int64),
        challenger_ece=ece([each.challenger for each in forecasts], [each.winner for each in forecasts]),
        champion_ece=ece([each.champion for each in forecasts], [each.winner for each in forecasts]),
        source=source,
    )


def decide_promotion(challenger: str, champion: str, scores: PairedScores) -> Verdict:
    """Compares the challenger with the champion."""
    import numpy as np  # noqa: PLC0415

    figures: dict[str, float] = {
        "events": float(len(scores.challenger)),
        "clusters": float(len(np.unique(scores.clusters))),
    }
    if not scores.is_sufficient:
        why = (
            f"too few events to compare {challenger} with {champion}: {len(scores.challenger)} events of"
            f" {figures['clusters']:.0f} days and venues settled after both models' data ({scores.source}),"
            f" {MIN_EVENTS} of {MIN_CLUSTERS} are needed. Run it as a shadow (headrace models shadow {challenger})"
            " until there are enough, or force it with a reason"
        )
        return Verdict(passed=False, decided=False, why=why, against=champion, source=scores.source, figures=figures)
    difference = scores.challenger - scores.champion
    figures |= {
        "candidate_log_loss": float(scores.challenger.mean()),
        "live_log_loss": float(scores.champion.mean()),
        "difference": float(difference.mean()),
        "difference_at_most": _upper_bound(difference, scores.clusters),
        "confidence": CONFIDENCE,
        "candidate_ece": scores.challenger_ece,
        "live_ece": scores.champion_ece,
        "ece_tolerance": ECE_TOLERANCE,
    }
    better = figures["difference_at_most"] < 0
    calibrated = scores.challenger_ece <= scores.champion_ece + ECE_TOLERANCE
    return Verdict(
        passed=better and calibrated,
        decided=True,
        why=_explain(challenger, champion, scores.source, figures, better, calibrated),
        against=champion,
        source=scores.source,
        figures=figures,
    )


def decide_first_promotion(version: str, metrics: Mapping[str, float]) -> Verdict:
    """The verdict when no model is live: the candidate must beat the base rate on its own validation days, in every
    state with figures.

    `metrics`: log-losses `STATE_result` and `STATE_result_base`.
    """
    pairs = {
        name: (metrics[name], metrics[f"{name}_base"])
        for name in ("card_result", "observation_result")
        if name in metrics and f"{name}_base" in metrics
    }
    figures = {name: value for name, (value, _) in pairs.items()}
    figures |= {f"{name}_base": value for name, (_, value) in pairs.items()}
    passed = bool(pairs) and all(value < base for value, base in pairs.values())
    log_losses = ", ".join(
        f"{name.removesuffix('_result')} {value:.4f} (base {base:.4f})" for name, (value, base) in pairs.items()
    )
    why = (
        f"no model is live, and the validation log-loss of {version} is "
        f"{'below' if passed else 'not below'} the base rate's: {log_losses or 'it has no figures'}"
        + ("" if passed else ". Train on more days, or force it with a reason")
    )
    return Verdict(passed=passed, decided=bool(pairs), why=why, against=None, source="validation", figures=figures)


def ece(probabilities: Sequence[Sequence[float]], winners: Sequence[int]) -> float:
    """Expected calibration error over 15 bins of equal width, of the probabilities of all entries of all events."""
    import numpy as np  # noqa: PLC0415

    predicted = np.array([value for row in probabilities for value in row], dtype=np.float64)
    if not len(predicted):
        return 0.0
    won = np.array(
        [slot == winner for row, winner in zip(probabilities, winners, strict=True) for slot in range(len(row))],
        dtype=np.float64,
    )
    bins = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, won - predicted, minlength=BINS)  # (BINS,): wins minus expected wins
    return float(np.abs(gaps).sum() / len(predicted))


def _loss(probabilities: Sequence[float], winner: int) -> float:
    import numpy as np  # noqa: PLC0415

    return float(-np.log(max(probabilities[winner], MIN_PROBABILITY)))


def _upper_bound(difference: Floats, clusters: Ints) -> float:
    """One-sided upper bound of the mean; whole clusters are drawn with replacement."""
    import numpy as np  # noqa: PLC0415

    sums, sizes = np.bincount(clusters, difference), np.bincount(clusters)
    count = len(sums)
    weights = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=DRAWS)  # (DRAWS, clusters)
    means = (weights @ sums) / (weights @ sizes)
    return float(np.quantile(means, CONFIDENCE))


def _explain(
    challenger: str, champion: str, source: str, figures: Mapping[str, float], better: bool, calibrated: bool
) -> str:
    verdict = (
        "is not better with confidence" if not better else "is better" if calibrated else "is less well calibrated"
    )
    return (
        f"{challenger} {verdict} than {champion} on {figures['events']:.0f} settled events of {figures['clusters']:.0f}"
        f" days and venues ({source}): log-loss {figures['candidate_log_loss']:.4f} against"
        f" {figures['live_log_loss']:.4f},"
        f" difference {figures['difference']:+.4f} and with {CONFIDENCE:.0%} confidence at most"
        f" {figures['difference_at_most']:+.4f} (must be below 0); ECE {figures['candidate_ece']:.4f} against"
        f" {figures['live_ece']:.4f} (may be {ECE_TOLERANCE} worse)"
    )
