"""What serving asks of a model, as types: more than one kind of model may be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.predictor.data.events import Floats
from services.predictor.evaluation.stability_index import Bins
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs
from services.predictor.policy.context import Scene, Told
from services.predictor.policy.environment import SoFar
from shared.errors import ConfigError
from shared.events import Decision

Probabilities = Told
"""win (n, S), 0 in empty slots; top3 (n, S), trend (n, 3), behaviour (n, S, 3), embedding (n, C)."""


class Description(Protocol):
    """`validation_last`: the last day of all its data (2026-01-31). `drift`: bins of its training, by feature."""

    @property
    def encoding(self) -> Encoding: ...

    @property
    def validation_last(self) -> str: ...

    @property
    def drift(self) -> Mapping[str, Bins]: ...


class Decisions(Protocol):
    def decisions(self) -> Sequence[Decision]:
        """One an event."""
        ...


class Policy(Protocol):
    """What to do about events, as a model sees them, given how their sessions went so far (policy/agent.py)."""

    def decide(self, scene: Scene, so_far: SoFar) -> Decisions: ...


class Model(Protocol):
    """A trained model. An event's probabilities are the same bits whatever events are asked about beside it."""

    @property
    def version(self) -> str: ...

    @property
    def description(self) -> Description: ...

    @property
    def policy(self) -> Policy | None: ...

    def probabilities(self, inputs: Inputs) -> Probabilities: ...

    def scene(self, inputs: Inputs, told: Probabilities) -> Scene:
        """What the policy is shown."""
        ...

    def explain(self, inputs: Inputs) -> Floats:
        """(n, S, H): how much each past start counted for its entry; sums to 1 over those that there are."""
        ...


class Models(Protocol):
    """Where models lie (services/predictor/registry/store.py)."""

    def changed_ns(self) -> int | None: ...

    def live(self) -> Model | None: ...

    def shadows(self) -> Mapping[str, Model | ConfigError]: ...
