"""A trained model: inputs in, calibrated probabilities of all heads out.

Members are several networks, which differ by their seed, and boosted trees, which see the same features another way.
Their log-chances are pooled with weights fitted on the validation days, for each state of knowledge by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from services.predictor.features.inputs import Inputs, observed_in, tree_entries
from services.predictor.learners.boosting.fit import Boosting, boosting_of
from services.predictor.learners.boosting.trees import ARRAYS
from services.predictor.learners.network.inference import logits_of
from services.predictor.learners.network.network import Logits, Network, Shape
from services.predictor.model.pooling import Pooling, mixed, pooled, shifted
from services.predictor.policy.agent import Policy, PolicyDescription, policy_of
from services.predictor.policy.context import Scene, Told, plain_columns, scene_of
from shared.errors import ConfigError

NETWORK: Final = "network"
TREES: Final = "trees"
TOP3_TREES: Final = "top3_trees"
POLICY = "policy"
Kind = Literal["network", "trees", "top3_trees"]


class Member(BaseModel):
    """`state`: the one it speaks in; None: in both. `log_loss`: of its own head (the result, but for top3_trees) on the
    validation days in that state, by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
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


class MemberOutput(NamedTuple):
    """What one member says of n events: logits of a network, scores (n, S) of trees."""

    member: Member
    scores: Logits | Floats


@dataclass(frozen=True)
class Trained:
    """An event's probabilities are the same bits whatever events are asked about beside it.

    `fitted`: what each of the description's members has learned.
    """

    version: str
    description: Description
    fitted: Sequence[Network | Boosting]
    policy: Policy | None = None

    @property
    def members(self) -> Iterator[tuple[Member, Network | Boosting]]:
        return zip(self.description.members, self.fitted, strict=True)

    @property
    def networks(self) -> list[Network]:
        return [each for each in self.fitted if isinstance(each, Network)]

    def probabilities(self, inputs: Inputs) -> Probabilities:
        observed, entries = observed_in(inputs), tree_entries(inputs)
        outputs = []
        for member, fitted in self.members:
            if isinstance(fitted, Network):
                outputs.append(MemberOutput(member, logits_of(fitted, inputs)))
                continue
            # Trees are asked about the events of their state only; the others' scores are 0.
            rows = np.flatnonzero(observed == (member.state != "card"))
            scores = np.zeros(inputs.taken.shape)
            if len(rows):
                scores[rows] = tree_scores(fitted, entries[rows], inputs.taken[rows])
            outputs.append(MemberOutput(member, scores))
        return self.pooled(inputs, outputs)

    def pooled(self, inputs: Inputs, outputs: Sequence[MemberOutput]) -> Probabilities:
        """From what all networks say, and the trees of each state that there is among the events."""
        observed = observed_in(inputs)
        card, seen = (_told(inputs, outputs, state, self.description.pooling[state]) for state in STATES)
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
        found: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()
        for member, fitted in self.members:
            own = (
                fitted.state_dict()
                if isinstance(fitted, Network)
                else {name: torch.tensor(array) for name, array in fitted.arrays().items()}
            )
            found |= {f"{member.kind}.{counts[member.kind]}.{name}": tensor for name, tensor in own.items()}
            counts[member.kind] += 1
        if self.policy is not None:
            found |= {f"{POLICY}.{name}": tensor for name, tensor in self.policy.tensors().items()}
        return found


def tree_scores(trees: Boosting, entries: Floats32, taken: Bools) -> Floats:
    """(n, S), 0 in empty slots."""
    return np.where(taken, trees.scores(entries, taken), 0.0)


def trained_of(version: str, description: Description, tensors: Mapping[str, Tensor]) -> Trained:
    """Raises ConfigError where the tensors are not those of such a model."""
    _must_fit(version, description, tensors)
    counts: Counter[str] = Counter()
    fitted: list[Network | Boosting] = []
    for member in description.members:
        name = f"{member.kind} {counts[member.kind]} of model {version}"
        own = _under(tensors, f"{member.kind}.{counts[member.kind]}.")
        read = _network_of if member.kind == NETWORK else _trees_of
        fitted.append(read(name, description.shape, own))
        counts[member.kind] += 1
    policy = None if description.policy is None else policy_of(description.policy, _under(tensors, f"{POLICY}."))
    return Trained(version, description, fitted, policy)


def _network_of(name: str, shape: Shape, tensors: Mapping[str, Tensor]) -> Network:
    network = Network(shape)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"{name}: {_in_one_line(error)}") from error
    network.requires_grad_(requires_grad=False)
    return network.eval()


def _trees_of(name: str, shape: Shape, tensors: Mapping[str, Tensor]) -> Boosting:
    read = shape.entry_features + shape.event_features + 1
    try:
        boosting = boosting_of({name: tensor.numpy() for name, tensor in tensors.items()})
    except (TypeError, ConfigError) as error:  # numpy lacks some of torch's types
        raise ConfigError(f"{name}: {_in_one_line(error)}") from error
    if boosting.trees.feature.max(initial=-1) >= read:
        raise ConfigError(f"{name} read more than the {read} features that there are")
    return boosting


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


def logits_in(outputs: Sequence[MemberOutput]) -> list[Logits]:
    """Of the networks."""
    return [each.scores for each in outputs if isinstance(each.scores, Logits)]


def scores_in(outputs: Sequence[MemberOutput], kind: Kind, state: State) -> list[Floats]:
    """Of the state's trees of this kind."""
    return [
        each.scores
        for each in outputs
        if each.member.kind == kind and each.member.state == state and not isinstance(each.scores, Logits)
    ]


def _told(inputs: Inputs, outputs: Sequence[MemberOutput], state: State, pooling: Pooling) -> Probabilities:
    logits, taken = logits_in(outputs), inputs.taken
    return Probabilities(
        win=pooled(pooling, mean_of([each.result for each in logits]), scores_in(outputs, TREES, state), taken),
        top3=mixed(pooling.top3, mean_of([each.top3 for each in logits]), scores_in(outputs, TOP3_TREES, state), taken),
        trend=shifted(pooling.trend, mean_of([each.trend for each in logits])),
        behaviour=shifted(pooling.behaviour, mean_of([each.behaviour for each in logits])),
        embedding=mean_of([each.embedding for each in logits]),
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
