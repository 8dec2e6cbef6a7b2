"""A small model with real features, for tests of what is around a model: what it says follows from what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from services.predictor.data.events import Events, Floats
from services.predictor.data.profile import Profile
from services.predictor.evaluation.stability_index import Bins, fit_bins
from services.predictor.features.encoding import Encoding, fit_encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, encode
from services.predictor.features.names import feature_names
from services.predictor.features.values import feature_values
from services.predictor.model.interface import Model
from services.predictor.policy.context import ModelProbabilities, PolicyContext, policy_context_of
from services.predictor.policy.environment import SessionState
from shared.errors import ConfigError
from shared.events import Decision

PROFILE = Profile(name="made-up", slots=6, equipment="motor_number", pace="lap_s")
PROFILES = {"made": PROFILE}


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Said:
    win: Floats
    top3: Floats
    trend: Floats
    behaviour: Floats
    embedding: Floats


@dataclass(frozen=True)
class SmallDescription:
    encoding: Encoding
    validation_last: str
    drift: Mapping[str, Bins]


class Decisions(list[Decision]):
    def decisions(self) -> Sequence[Decision]:
        return self


class AlwaysFirst:
    """Backs slot 1, and says in its values what it knew of the session."""

    def decide(self, context: PolicyContext, session_state: SessionState) -> Decisions:
        return Decisions(
            Decision(action="back 1", values={"left": left, "staked": staked, "net": net, "win": float(win)})
            for (left, staked, net), win in zip(session_state.matrix().tolist(), context.win[:, 0], strict=True)
        )


class Misfit(AlwaysFirst):
    """Was trained on something else."""

    def decide(self, context: PolicyContext, session_state: SessionState) -> Decisions:
        raise ConfigError(f"the policy was not trained on {context.slots} slots")


@dataclass(frozen=True)
class SmallModel:
    """P(win) is a softmax of the sum of an entry's features, times `sharpness`."""

    version: str
    description: SmallDescription
    sharpness: float = 0.1
    policy: AlwaysFirst | None = None

    def probabilities(self, inputs: Inputs) -> Said:
        score = np.where(inputs.occupied, self.sharpness * inputs.entry.astype(np.float64).sum(axis=2), -np.inf)
        raised = np.exp(score - score.max(axis=1, keepdims=True))
        win = raised / raised.sum(axis=1, keepdims=True)
        thirds = np.full((*win.shape, 3), 1 / 3)
        return Said(win, np.minimum(3 * win, 1.0), thirds[:, 0], thirds, win)

    def policy_context(self, inputs: Inputs, probabilities: ModelProbabilities) -> PolicyContext:
        return policy_context_of(probabilities, inputs.occupied)

    def explain(self, inputs: Inputs) -> Floats:
        """The newer, the more it counts."""
        weight = inputs.started.astype(np.float64) * np.arange(1, inputs.started.shape[2] + 1)
        total = weight.sum(axis=2, keepdims=True)
        shares: Floats = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        return shares


class Failing(SmallModel):
    """Cannot compute."""

    def probabilities(self, inputs: Inputs) -> Said:
        raise FloatingPointError(f"{len(inputs)} events too many")


@dataclass
class Shelf:
    """Models that are put into use by hand."""

    one: SmallModel | None = None
    others: dict[str, Model | ConfigError] = field(default_factory=dict)
    error: ConfigError | None = None
    number: int = 1

    def changed_ns(self) -> int | None:
        return self.number

    def live(self) -> SmallModel | None:
        if self.error is not None:
            raise self.error
        return self.one

    def shadows(self) -> dict[str, Model | ConfigError]:
        return self.others


def model_of(events: Events, version: str = "20300301-00000001", last_day: str = "2030-03-01") -> SmallModel:
    """Its encoding and its bins are of these events."""
    history = History(PROFILE)
    history.fold(events)
    names = feature_names(events, PROFILE)
    values = feature_values(events, history, names, "observation")
    encoding = fit_encoding(names, values, np.ones(len(events), dtype=np.bool_))
    inputs = encode(values, encoding)
    bins = {
        **{name: fit_bins(inputs.entry[inputs.occupied][:, at]) for at, name in enumerate(encoding.entry_features)},
        **{name: fit_bins(inputs.event[:, at]) for at, name in enumerate(encoding.event_features)},
    }
    return SmallModel(version, SmallDescription(encoding, last_day, bins))
