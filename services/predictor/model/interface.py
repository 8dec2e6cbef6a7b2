"""What serving needs of a model, as protocols: more than one kind of model may be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.predictor.data.events import Floats
from services.predictor.evaluation.stability_index import Bins
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs
from services.predictor.policy.context import ModelProbabilities, PolicyContext
from services.predictor.policy.environment import SessionState
from shared.errors import ConfigError
from shared.events import Decision

Probabilities = ModelProbabilities
"""win (n, S), 0 in empty slots; top3 (n, S), trend (n, 3), behaviour (n, S, 3), embedding (n, C)."""


class ModelDescription(Protocol):
    """`validation_last`: the last day of all its data (2026-01-31). `drift`: bins of the training data, by feature."""

    @property
    def encoding(self) -> Encoding: ...

    @property
    def validation_last(self) -> str: ...

    @property
    def drift(self) -> Mapping[str, Bins]: ...


class Decisions(Protocol):
    def decisions(self) -> Sequence[Decision]:
        """One per event."""
        ...


class Policy(Protocol):
    """Decides on events, from the model's view of them and the states of their sessions (policy/agent.py)."""

    def decide(self, context: PolicyContext, session_state: SessionState) -> Decisions: ...


class Model(Protocol):
    """A trained model. An event's probabilities are bit-identical whatever other events are in the batch."""

    @property
    def version(self) -> str: ...

    @property
    def description(self) -> ModelDescription: ...

    @property
    def policy(self) -> Policy | None: ...

    def probabilities(self, inputs: Inputs) -> Probabilities: ...

    def policy_context(self, inputs: Inputs, probabilities: Probabilities) -> PolicyContext:
        """The policy's view of the events."""
        ...

    def explain(self, inputs: Inputs) -> Floats:
        """(n, S, H): attention weight of each past start of an entry; sums to 1 over the entry's past starts."""
        ...


class Models(Protocol):
    """The store of models (services/predictor/registry/store.py)."""

    def changed_ns(self) -> int | None: ...

    def live(self) -> Model | None: ...

    def shadows(self) -> Mapping[str, Model | ConfigError]: ...
