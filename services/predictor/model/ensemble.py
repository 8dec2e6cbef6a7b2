"""The trained model: turns inputs into calibrated probabilities of all heads.

Its members are several networks, which differ by seed, and boosted trees, which read the same features differently.
Their scores are pooled with weights fitted on the validation days, separately for each state of knowledge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from services.predictor.data.events import STATES, Bools, Floats, Floats32, State
from services.predictor.data.targets import Terciles
from services.predictor.evaluation.stability_index import Bins
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs, observed_events, tree_entries
from services.predictor.learners.boosting.fit import Boosting
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.network import Logits, Network, Shape
from services.predictor.model.pooling import Pooling, calibrate, pool_top3, pool_win
from services.predictor.policy.agent import DqnPolicy, PolicyDescription
from services.predictor.policy.context import ModelProbabilities, PolicyContext, absolute_columns, policy_context_of

NETWORK: Final = "network"
TREES: Final = "trees"
TOP3_TREES: Final = "top3_trees"
POLICY = "policy"
MemberKind = Literal["network", "trees", "top3_trees"]


class Member(BaseModel):
    """`state`: the state of knowledge it predicts in; None: both. `log_loss`: its own loss on the validation days in
    that state, for its head (top3 for top3_trees, else the result)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: MemberKind
    state: State | None
    seed: int
    log_loss: float


class EnsembleDescription(BaseModel):
    """Everything of a model except its weights, as stored in model.json. Days are inclusive; `events`: number of
    training events.

    `pooling`: by state. `drift`: bins of the training data, by feature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    first_day: str
    last_day: str
    validation_first: str
    validation_last: str
    events: int
    seed: int
    encoding: Encoding
    shape: Shape
    members: tuple[Member, ...]
    pooling: dict[State, Pooling]
    terciles: Terciles
    win_rate: tuple[float, ...]
    top3_rate: tuple[float, ...]
    drift: dict[str, Bins]
    policy: PolicyDescription | None = None
    metrics: dict[str, float]

    @property
    def prefixes(self) -> list[str]:
        """Prefix of each member's tensor names: its kind, and its number among the members of that kind."""
        kinds = [member.kind for member in self.members]
        return [f"{kind}.{kinds[:at].count(kind)}" for at, kind in enumerate(kinds)]


@dataclass(frozen=True)
class Probabilities:
    """win (n, S), top3 (n, S), trend (n, 3), behaviour (n, S, 3); win is 0 in empty slots. embedding (n, C)."""

    win: Floats
    top3: Floats
    trend: Floats
    behaviour: Floats
    embedding: Floats


class MemberOutput(NamedTuple):
    """One member's output for n events: logits of a network, or scores (n, S) of trees."""

    member: Member
    scores: Logits | Floats


@dataclass(frozen=True)
class Ensemble:
    """An event's probabilities are bit-identical whatever other events are in the batch.

    `learners`: the fitted network or trees of each of the description's members.
    """

    version: str
    description: EnsembleDescription
    learners: Sequence[Network | Boosting]
    policy: DqnPolicy | None = None

    @property
    def members(self) -> Iterator[tuple[Member, Network | Boosting]]:
        return zip(self.description.members, self.learners, strict=True)

    @property
    def networks(self) -> list[Network]:
        return [each for each in self.learners if isinstance(each, Network)]

    def probabilities(self, inputs: Inputs) -> Probabilities:
        observed, entries = observed_events(inputs), tree_entries(inputs)
        outputs = []
        for member, learner in self.members:
            if isinstance(learner, Network):
                outputs.append(MemberOutput(member, logits_of(learner, inputs)))
                continue
            # Trees score only the events of their state; the scores of others are 0.
            rows = np.flatnonzero(observed == (member.state != "card"))
            scores = np.zeros(inputs.occupied.shape)
            if len(rows):
                scores[rows] = tree_scores(learner, entries[rows], inputs.occupied[rows])
            outputs.append(MemberOutput(member, scores))
        return self.pool(inputs, outputs)

    def pool(self, inputs: Inputs, outputs: Sequence[MemberOutput]) -> Probabilities:
        """Pools the outputs of all networks, and of the trees of each state that occurs among the events."""
        observed = observed_events(inputs)
        card, observation = (
            _pool_in_state(inputs, outputs, state, self.description.pooling[state]) for state in STATES
        )
        return Probabilities(
            win=np.where(observed[:, None], observation.win, card.win),
            top3=np.where(observed[:, None], observation.top3, card.top3),
            trend=np.where(observed[:, None], observation.trend, card.trend),
            behaviour=np.where(observed[:, None, None], observation.behaviour, card.behaviour),
            embedding=observation.embedding,
        )

    def policy_context(self, inputs: Inputs, probabilities: ModelProbabilities | None = None) -> PolicyContext:
        """The policy's view of the events. `probabilities`: used instead of the model's own; None: the model's own."""
        columns = absolute_columns(self.description.encoding.entry_features)
        probabilities = self.probabilities(inputs) if probabilities is None else probabilities
        return policy_context_of(probabilities, inputs.occupied, inputs.entry[..., columns], inputs.event)

    def explain(self, inputs: Inputs) -> Floats:
        """(n, S, H): attention weight of each past start of an entry; sums to 1 over the entry's past starts."""
        return mean_of([logits_of(network, inputs).attention for network in self.networks])

    def tensors(self) -> dict[str, Tensor]:
        """All fitted tensors, by name."""
        tensors: dict[str, Tensor] = {}
        for prefix, learner in zip(self.description.prefixes, self.learners, strict=True):
            if isinstance(learner, Network):
                own = learner.state_dict()
            else:
                own = {name: torch.tensor(array) for name, array in learner.arrays().items()}
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in own.items()}
        if self.policy is not None:
            tensors |= {f"{POLICY}.{name}": tensor for name, tensor in self.policy.tensors().items()}
        return tensors


def tree_scores(trees: Boosting, entries: Floats32, occupied: Bools) -> Floats:
    """(n, S), 0 in empty slots."""
    return np.where(occupied, trees.scores(entries, occupied), 0.0)


def mean_of(parts: Sequence[Tensor]) -> Floats:
    total = parts[0].double()
    for part in parts[1:]:
        total = total + part.double()
    return np.asarray((total / len(parts)).numpy(), dtype=np.float64)


def logits_in(outputs: Sequence[MemberOutput]) -> list[Logits]:
    """Outputs of the networks."""
    return [each.scores for each in outputs if isinstance(each.scores, Logits)]


def scores_in(outputs: Sequence[MemberOutput], kind: MemberKind, state: State) -> list[Floats]:
    """Outputs of the trees of this kind in this state."""
    return [
        each.scores
        for each in outputs
        if each.member.kind == kind and each.member.state == state and not isinstance(each.scores, Logits)
    ]


def _pool_in_state(inputs: Inputs, outputs: Sequence[MemberOutput], state: State, pooling: Pooling) -> Probabilities:
    logits, occupied = logits_in(outputs), inputs.occupied
    return Probabilities(
        win=pool_win(pooling, mean_of([each.result for each in logits]), scores_in(outputs, TREES, state), occupied),
        top3=pool_top3(
            pooling.top3, mean_of([each.top3 for each in logits]), scores_in(outputs, TOP3_TREES, state), occupied
        ),
        trend=calibrate(pooling.trend, mean_of([each.trend for each in logits])),
        behaviour=calibrate(pooling.behaviour, mean_of([each.behaviour for each in logits])),
        embedding=mean_of([each.embedding for each in logits]),
    )
