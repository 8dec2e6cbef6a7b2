"""A small model with real features, for tests of the code around a model. Its output depends on its input."""

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
    """A clock that shows what it is set to."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class SmallProbabilities:
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
    """Backs slot 1; its values contain the session state that it was given."""

    def decide(self, context: PolicyContext, session_state: SessionState) -> Decisions:
        return Decisions(
            Decision(action="back 1", values={"remaining": remaining, "staked": staked, "net": net, "win": float(win)})
            for (remaining, staked, net), win in zip(session_state.matrix().tolist(), context.win[:, 0], strict=True)
        )


class Misfit(AlwaysFirst):
    """A policy that was trained on other features."""

    def decide(self, context: PolicyContext, session_state: SessionState) -> Decisions:
        raise ConfigError(f"the policy was not trained on {context.slots} slots")


@dataclass(frozen=True)
class SmallModel:
    """P(win) is a softmax of the sum of an entry's features, times `sharpness`."""

    version: str
    description: SmallDescription
    sharpness: float = 0.1
    policy: AlwaysFirst | None = None

    def probabilities(self, inputs: Inputs) -> SmallProbabilities:
        score = np.where(inputs.occupied, self.sharpness * inputs.entry.astype(np.float64).sum(axis=2), -np.inf)
        raised = np.exp(score - score.max(axis=1, keepdims=True))
        win = raised / raised.sum(axis=1, keepdims=True)
        thirds = np.full((*win.shape, 3), 1 / 3)
        return SmallProbabilities(win, np.minimum(3 * win, 1.0), thirds[:, 0], thirds, win)

    def policy_context(self, inputs: Inputs, probabilities: ModelProbabilities) -> PolicyContext:
        return policy_context_of(probabilities, inputs.occupied)

    def explain(self, inputs: Inputs) -> Floats:
        """Newer starts have more weight."""
        weight = inputs.started.astype(np.float64) * np.arange(1, inputs.started.shape[2] + 1)
        total = weight.sum(axis=2, keepdims=True)
        shares: Floats = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        return shares


class Failing(SmallModel):
    """A model whose predictions fail."""

    def probabilities(self, inputs: Inputs) -> SmallProbabilities:
        raise FloatingPointError(f"{len(inputs)} events too many")


@dataclass
class InMemoryRegistry:
    """A registry whose models are set by the test."""

    live_model: SmallModel | None = None
    shadow_models: dict[str, Model | ConfigError] = field(default_factory=dict)
    error: ConfigError | None = None
    changed: int = 1

    def changed_ns(self) -> int | None:
        return self.changed

    def live(self) -> SmallModel | None:
        if self.error is not None:
            raise self.error
        return self.live_model

    def shadows(self) -> dict[str, Model | ConfigError]:
        return self.shadow_models


def model_of(events: Events, version: str = "20300301-00000001", last_day: str = "2030-03-01") -> SmallModel:
    """The encoding and the drift bins are fitted on these events."""
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
