"""A trained model: inputs in, calibrated probabilities of all heads out.

Members are several networks, which differ by their seed, and boosted trees, which see the same features another way.
Their log-chances are pooled with weights fitted on the validation days, for each state of knowledge by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from services.predictor.data.events import Bools, Floats, Floats32, State
from services.predictor.data.targets import Terciles
from services.predictor.evaluation.stability_index import Bins
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs, observed_in, tree_entries
from services.predictor.learners.boosting.fit import Boosting, boosting_of
from services.predictor.learners.boosting.trees import ARRAYS
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.network import Logits, Network, Shape
from services.predictor.model.pooling import Pooling, mixed, pooled, shifted
from services.predictor.policy.agent import Policy, PolicyDescription, policy_of
from services.predictor.policy.context import Scene, Told, plain_columns, scene_of
from shared.errors import ConfigError

NETWORK, TREES, TOP3_TREES, POLICY = "network", "trees", "top3_trees", "policy"


Scores = Mapping[State, Sequence[Floats]]
"""Of the trees of each state, (n, S) each."""


class Member(BaseModel):
    """`state`: the one it speaks in; None: in both. `log_loss`: of its own head (the result, but for top3_trees) on the
    validation days in that state, by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["network", "trees", "top3_trees"]
    state: State | None
    seed: int
    log_loss: float


class Description(BaseModel):
    """All of a model but its weights, as it lies in model.json. Days are inclusive; `events` are those it learned from.

    `pooling`: by state. `drift`: bins of its training, by feature.
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


@dataclass(frozen=True)
class Probabilities:
    """win (n, S), top3 (n, S), trend (n, 3), behaviour (n, S, 3); win is 0 in empty slots. embedding (n, C)."""

    win: Floats
    top3: Floats
    trend: Floats
    behaviour: Floats
    embedding: Floats


@dataclass(frozen=True)
class Trained:
    """An event's probabilities are the same bits whatever events are asked about beside it."""

    version: str
    description: Description
    networks: Sequence[Network]
    trees: Sequence[Boosting]
    top3_trees: Sequence[Boosting] = ()
    policy: Policy | None = None

    def probabilities(self, inputs: Inputs) -> Probabilities:
        told = [logits_of(network, inputs) for network in self.networks]
        entries = tree_entries(inputs)
        scores = {kind: self._scores(kind, inputs, entries) for kind in (TREES, TOP3_TREES)}
        return self.pooled(inputs, told, scores[TREES], scores[TOP3_TREES])

    def pooled(self, inputs: Inputs, told: Sequence[Logits], scores: Scores, top3_scores: Scores) -> Probabilities:
        """From what the members say."""
        observed = observed_in(inputs)
        by_state = {
            state: _told(inputs, told, scores.get(state, ()), top3_scores.get(state, ()), pooling)
            for state, pooling in self.description.pooling.items()
        }
        card, seen = by_state["card"], by_state["observation"]
        return Probabilities(
            win=np.where(observed[:, None], seen.win, card.win),
            top3=np.where(observed[:, None], seen.top3, card.top3),
            trend=np.where(observed[:, None], seen.trend, card.trend),
            behaviour=np.where(observed[:, None, None], seen.behaviour, card.behaviour),
            embedding=seen.embedding,
        )

    def scene(self, inputs: Inputs, told: Told | None = None) -> Scene:
        """What a policy is shown of the events; `told`: where it is not what the model says now."""
        columns = plain_columns(self.description.encoding.entry_features)
        told = self.probabilities(inputs) if told is None else told
        return scene_of(told, inputs.taken, inputs.entry[..., columns], inputs.event)

    def explain(self, inputs: Inputs) -> Floats:
        """(n, S, H): how much each past start counted for its entry; sums to 1 over those that there are."""
        return mean_of([logits_of(network, inputs).attention for network in self.networks])

    def tensors(self) -> dict[str, Tensor]:
        """Everything that was learned, by name."""
        found = {
            f"{NETWORK}.{member}.{name}": tensor
            for member, network in enumerate(self.networks)
            for name, tensor in network.state_dict().items()
        }
        for kind, members in ((TREES, self.trees), (TOP3_TREES, self.top3_trees)):
            for member, trees in enumerate(members):
                found |= {f"{kind}.{member}.{name}": torch.tensor(array) for name, array in trees.arrays().items()}
        if self.policy is not None:
            found |= {f"{POLICY}.{name}": tensor for name, tensor in self.policy.tensors().items()}
        return found

    def _scores(self, kind: str, inputs: Inputs, entries: Floats32) -> dict[State, list[Floats]]:
        """Each state's trees are asked about the events of that state only; the others' scores are 0."""
        observed, found = observed_in(inputs), dict[State, list[Floats]]()
        speaking = [member for member in self.description.members if member.kind == kind]
        for member, trees in zip(speaking, self.trees if kind == TREES else self.top3_trees, strict=True):
            state: State = member.state or "observation"
            rows = np.flatnonzero(observed == (state == "observation"))
            scores = np.zeros(inputs.taken.shape)
            if len(rows):
                scores[rows] = tree_scores(trees, entries[rows], inputs.taken[rows])
            found.setdefault(state, []).append(scores)
        return found


def tree_scores(trees: Boosting, entries: Floats32, taken: Bools) -> Floats:
    """(n, S), 0 in empty slots."""
    return np.where(taken, trees.scores(entries, taken), 0.0)


def trained_of(version: str, description: Description, tensors: Mapping[str, Tensor]) -> Trained:
    """Raises ConfigError where the tensors are not those of such a model."""
    _must_fit(version, description, tensors)
    networks = []
    for member in range(sum(each.kind == NETWORK for each in description.members)):
        network = Network(description.shape)
        try:
            network.load_state_dict(_under(tensors, f"{NETWORK}.{member}."))
        except RuntimeError as error:
            raise ConfigError(f"network {member} of model {version}: {_in_one_line(error)}") from error
        network.requires_grad_(requires_grad=False)
        networks.append(network.eval())
    trees, top3_trees = (_trees_of(version, description, tensors, kind) for kind in (TREES, TOP3_TREES))
    policy = None if description.policy is None else policy_of(description.policy, _under(tensors, f"{POLICY}."))
    return Trained(version, description, networks, trees, top3_trees, policy)


def _trees_of(version: str, description: Description, tensors: Mapping[str, Tensor], kind: str) -> list[Boosting]:
    read, trees = description.shape.entry_features + description.shape.event_features + 1, []
    for member in range(sum(each.kind == kind for each in description.members)):
        found = _under(tensors, f"{kind}.{member}.")
        try:
            boosting = boosting_of({name: tensor.numpy() for name, tensor in found.items()})
        except (TypeError, ConfigError) as error:  # numpy lacks some of torch's types
            raise ConfigError(f"{kind} {member} of model {version}: {_in_one_line(error)}") from error
        if boosting.trees.feature.max(initial=-1) >= read:
            raise ConfigError(f"{kind} {member} of model {version} read more than the {read} features that there are")
        trees.append(boosting)
    return trees


def _must_fit(version: str, description: Description, tensors: Mapping[str, Tensor]) -> None:
    """The description with itself, and every tensor with something in it."""
    encoding, shape = description.encoding, description.shape
    told = (shape.slots, shape.entry_features, shape.event_features, shape.venues)
    slots, venues = encoding.names.profile.slots, len(encoding.names.venues)
    wanted = (slots, len(encoding.entry_features), len(encoding.event_features), venues)
    if told != wanted:
        raise ConfigError(
            f"model {version} has (slots, entry and event features, venues) {told}, its encoding {wanted}"
        )
    counts = {kind: sum(each.kind == kind for each in description.members) for kind in (NETWORK, TREES, TOP3_TREES)}
    whole = {f"{kind}.{member}.{name}" for kind in (TREES, TOP3_TREES) for member in range(counts[kind])
             for name in ARRAYS}  # fmt: skip
    begun = tuple(f"{NETWORK}.{member}." for member in range(counts[NETWORK]))  # what follows, its reader knows
    begun = begun if description.policy is None else (*begun, f"{POLICY}.")
    unknown = sorted(name for name in tensors if name not in whole and not name.startswith(begun))
    if unknown:
        raise ConfigError(f"model {version} has tensors that belong to none of its parts: {', '.join(unknown[:3])}")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def mean_of(parts: Sequence[Tensor]) -> Floats:
    total = parts[0].double()
    for part in parts[1:]:
        total = total + part.double()
    return np.asarray((total / len(parts)).numpy(), dtype=np.float64)


def _told(
    inputs: Inputs, told: Sequence[Logits], scores: Sequence[Floats], top3_scores: Sequence[Floats], pooling: Pooling
) -> Probabilities:
    return Probabilities(
        win=pooled(pooling, mean_of([each.result for each in told]), scores, inputs.taken),
        top3=mixed(pooling.top3, mean_of([each.top3 for each in told]), top3_scores, inputs.taken),
        trend=shifted(pooling.trend, mean_of([each.trend for each in told])),
        behaviour=shifted(pooling.behaviour, mean_of([each.behaviour for each in told])),
        embedding=mean_of([each.embedding for each in told]),
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
