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

EVENTS, LEAST_EVENTS = 1000, 200
# Events of one day and venue share weather and water. With fewer such clusters, a bootstrap says nothing.
LEAST_CLUSTERS = 10
DRAWS, SEED, CONFIDENCE = 2000, 6, 0.95
# The ECEs of two halves of 1,000 events differ by more than this; that of a really worse model differs far more.
ECE_TOLERANCE = 0.002
BINS = 15
# Lower bound of a probability: an outcome predicted as impossible costs 27.6 nats instead of infinity.
FLOOR = 1e-12

Source = Literal["stored predictions", "walk-forward"]


class Judged(NamedTuple):
    """One settled event as both models predicted it. Probabilities by entry; `winner`: index of the winning entry."""

    event_key: str
    cluster: str
    winner: int
    candidate: tuple[float, ...]
    live: tuple[float, ...]


class Duel(NamedTuple):
    """Which models to compare: on the newest events of days after `after`, at most `most` of them."""

    candidate: str
    live: str
    after: date
    most: int = EVENTS


@dataclass(frozen=True)
class Evidence:
    """Log-losses (n,) in nats, and each event's cluster number (n,), one per day and venue."""

    candidate: Floats
    live: Floats
    clusters: Ints
    candidate_ece: float
    live_ece: float
    source: Source

    @property
    def enough(self) -> bool:
        import numpy as np  # noqa: PLC0415

        return len(self.candidate) >= LEAST_EVENTS and len(np.unique(self.clusters)) >= LEAST_CLUSTERS


class Verdict(BaseModel):
    """`why` gives all figures in words; `decided` is False if there were too few events for a decision."""

    model_config = ConfigDict(frozen=True)

    passed: bool
    decided: bool
    why: str
    against: str | None
    source: str
    figures: dict[str, float]


def evidence_of(judged: Sequence[Judged], source: Source) -> Evidence:
    import numpy as np  # noqa: PLC0415

    _, clusters = np.unique(np.array([each.cluster for each in judged], dtype=np.str_), return_inverse=True)
    return Evidence(
        candidate=np.array([_loss(each.candidate, each.winner) for each in judged], dtype=np.float64),
        live=np.array([_loss(each.live, each.winner) for each in judged], dtype=np.float64),
        clusters=clusters.astype(np.int64),
        candidate_ece=ece([each.candidate for each in judged], [each.winner for each in judged]),
        live_ece=ece([each.live for each in judged], [each.winner for each in judged]),
        source=source,
    )


def judge(version: str, live: str, evidence: Evidence) -> Verdict:
    """Compares the challenger with the champion."""
    import numpy as np  # noqa: PLC0415

    figures: dict[str, float] = {
        "events": float(len(evidence.candidate)),
        "clusters": float(len(np.unique(evidence.clusters))),
    }
    if not evidence.enough:
        why = (
            f"too few events to compare {version} with {live}: {len(evidence.candidate)} events of"
            f" {figures['clusters']:.0f} days and venues settled after both models' data ({evidence.source}),"
            f" {LEAST_EVENTS} of {LEAST_CLUSTERS} are needed. Run it as a shadow (headrace models shadow {version})"
            " until there are enough, or force it with a reason"
        )
        return Verdict(passed=False, decided=False, why=why, against=live, source=evidence.source, figures=figures)
    difference = evidence.candidate - evidence.live
    figures |= {
        "candidate_log_loss": float(evidence.candidate.mean()),
        "live_log_loss": float(evidence.live.mean()),
        "difference": float(difference.mean()),
        "difference_at_most": _upper(difference, evidence.clusters),
        "confidence": CONFIDENCE,
        "candidate_ece": evidence.candidate_ece,
        "live_ece": evidence.live_ece,
        "ece_tolerance": ECE_TOLERANCE,
    }
    better = figures["difference_at_most"] < 0
    honest = evidence.candidate_ece <= evidence.live_ece + ECE_TOLERANCE
    return Verdict(
        passed=better and honest,
        decided=True,
        why=_in_words(version, live, evidence.source, figures, better, honest),
        against=live,
        source=evidence.source,
        figures=figures,
    )


def judge_alone(version: str, metrics: Mapping[str, float]) -> Verdict:
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
    said = ", ".join(
        f"{name.removesuffix('_result')} {value:.4f} (base {base:.4f})" for name, (value, base) in pairs.items()
    )
    why = (
        f"no model is live, and the validation log-loss of {version} is "
        f"{'below' if passed else 'not below'} the base rate's: {said or 'it has no figures'}"
        + ("" if passed else ". Train on more days, or force it with a reason")
    )
    return Verdict(passed=passed, decided=bool(pairs), why=why, against=None, source="validation", figures=figures)


def ece(probabilities: Sequence[Sequence[float]], winners: Sequence[int]) -> float:
    """Expected calibration error over 15 bins of equal width, of the probabilities of all entries of all events."""
    import numpy as np  # noqa: PLC0415

    told = np.array([value for row in probabilities for value in row], dtype=np.float64)
    if not len(told):
        return 0.0
    won = np.array(
        [slot == winner for row, winner in zip(probabilities, winners, strict=True) for slot in range(len(row))],
        dtype=np.float64,
    )
    bins = np.minimum((told * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, won - told, minlength=BINS)  # (BINS,): wins minus expected wins
    return float(np.abs(gaps).sum() / len(told))


def _loss(probabilities: Sequence[float], winner: int) -> float:
    import numpy as np  # noqa: PLC0415

    return float(-np.log(max(probabilities[winner], FLOOR)))


def _upper(difference: Floats, clusters: Ints) -> float:
    """One-sided upper bound of the mean; whole clusters are drawn with replacement."""
    import numpy as np  # noqa: PLC0415

    sums, sizes = np.bincount(clusters, difference), np.bincount(clusters)
    count = len(sums)
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=DRAWS)  # (DRAWS, clusters)
    means = (drawn @ sums) / (drawn @ sizes)
    return float(np.quantile(means, CONFIDENCE))


def _in_words(version: str, live: str, source: str, figures: Mapping[str, float], better: bool, honest: bool) -> str:
    verdict = "is not better with confidence" if not better else "is better" if honest else "is less well calibrated"
    return (
        f"{version} {verdict} than {live} on {figures['events']:.0f} settled events of {figures['clusters']:.0f} days"
        f" and venues ({source}): log-loss {figures['candidate_log_loss']:.4f} against {figures['live_log_loss']:.4f},"
        f" difference {figures['difference']:+.4f} and with {CONFIDENCE:.0%} confidence at most"
        f" {figures['difference_at_most']:+.4f} (must be below 0); ECE {figures['candidate_ece']:.4f} against"
        f" {figures['live_ece']:.4f} (may be {ECE_TOLERANCE} worse)"
    )
