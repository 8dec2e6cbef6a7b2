"""The trained policy: averages the action values of several Q networks and chooses an action for each event.

The values of an event do not depend on the other events of the batch: they are computed in double precision and rounded
to six decimals. Averaging over members removes part of the noise that each learns from returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from services.predictor.data.events import Floats, Ints
from services.predictor.learners.serial import Run, one_by_one
from services.predictor.policy.context import Scene
from services.predictor.policy.dqn import learn
from services.predictor.policy.environment import ABSTAIN, Choose, Episodes, SoFar
from services.predictor.policy.hyperparameters import Learning, Progress, Watch
from services.predictor.policy.q_network import QNetwork, tensors_of
from shared.errors import ConfigError
from shared.events import Decision

TOGETHER = 2048
"""Maximum number of events in one forward pass: bounds the memory."""
DECIMALS = 6
"""Decimals of a value. In double precision the order of a sum shows from the sixteenth on, and that order depends on
the other events of the batch."""


class PolicyDescription(BaseModel):
    """What is needed to read the weights, and how they were trained. `members`: number of networks, with consecutive
    seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int = Field(ge=1)
    slot_width: int = Field(ge=1)
    event_width: int = Field(ge=1)
    members: int = Field(ge=1)
    events: int = Field(ge=0)
    learning: Learning


class Decided(NamedTuple):
    """`action` (n,): 0 abstains, k backs slot k. `values` (n, S + 1): what each action adds to the session, in units
    per unit staked; 0 for abstaining, -inf for a slot without an entry."""

    action: Ints
    values: Floats

    @property
    def best_slot(self) -> Ints:
        """(n,): the slot of the highest value, counted from 1, also where the policy abstains."""
        return np.asarray(self.values[:, 1:].argmax(axis=1) + 1, dtype=np.int64)

    def decisions(self) -> list[Decision]:
        return [
            Decision(
                action=name_of(action),
                values={name_of(at): value for at, value in enumerate(values) if np.isfinite(value)},
            )
            for action, values in zip(self.action.tolist(), self.values.tolist(), strict=True)
        ]


def name_of(action: int) -> str:
    """The action as written in a prediction: `abstain` or `back 3`."""
    return "abstain" if action == ABSTAIN else f"back {action}"


class Policy:
    def __init__(self, description: PolicyDescription, networks: Sequence[QNetwork]) -> None:
        self.description = description
        self._networks = [network.double().eval() for network in networks]

    def tensors(self) -> dict[str, Tensor]:
        """By "member.name", in single precision, in which the networks were trained."""
        return {
            f"{member}.{name}": tensor.float().contiguous()
            for member, network in enumerate(self._networks)
            for name, tensor in network.state_dict().items()
        }

    def decide(self, scene: Scene, so_far: SoFar | None = None) -> Decided:
        """With `session_state` None, every event is decided as the first of its session, with nothing staked."""
        self._must_fit(scene)
        before = SoFar(np.ones(len(scene)), *np.zeros((2, len(scene)))) if so_far is None else so_far
        parts = [slice(at, at + TOGETHER) for at in range(0, max(len(scene), 1), TOGETHER)]
        values = np.concatenate([self._values(scene[part], before[part]) for part in parts])
        return Decided(values.argmax(axis=1).astype(np.int64), values)

    def playing(self, scene: Scene) -> Choose:
        """For `environment.play`: decides by the state of the session."""
        return lambda rows, so_far: self.decide(scene[rows], so_far).action

    @torch.no_grad()
    def _values(self, scene: Scene, so_far: SoFar) -> Floats:
        seen = tensors_of(scene, so_far, torch.float64)
        added = torch.stack([network(seen).added for network in self._networks]).mean(dim=0)
        return np.asarray(added.numpy().round(DECIMALS), dtype=np.float64)

    def _must_fit(self, scene: Scene) -> None:
        told = (scene.slots, scene.slot.shape[2], scene.event.shape[1])
        wanted = (self.description.slots, self.description.slot_width, self.description.event_width)
        if told != wanted:
            raise ConfigError(
                f"the policy was trained on (slots, slot features, event features) {wanted},"
                f" but this model provides {told}"
            )


def train_policy(
    scene: Scene,
    episodes: Episodes,
    learning: Learning,
    members: int = 3,
    watch: Watch | None = None,
    run: Run = one_by_one,
) -> tuple[Policy, list[list[Progress]]]:
    """Returns the policy and a learning curve per member. Member m is trained with seed `config.seed` + m."""
    learned = run(
        [
            partial(learn, scene, episodes, learning.model_copy(update={"seed": learning.seed + member}), watch)
            for member in range(members)
        ]
    )
    description = PolicyDescription(
        slots=scene.slots,
        slot_width=scene.slot.shape[2],
        event_width=scene.event.shape[1],
        members=members,
        events=len(scene),
        learning=learning,
    )
    return Policy(description, [network for network, _ in learned]), [curve for _, curve in learned]


def policy_of(description: PolicyDescription, tensors: Mapping[str, Tensor]) -> Policy:
    """Raises ConfigError if the tensors do not match the description."""
    networks = []
    for member in range(description.members):
        network = QNetwork(
            description.slots,
            description.slot_width,
            description.event_width,
            description.learning.width,
            description.learning.dropout,
        )
        own = {name.removeprefix(f"{member}."): each for name, each in tensors.items() if name.startswith(f"{member}.")}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise ConfigError(f"member {member} of the policy cannot be read: {error}") from error
        networks.append(network)
    unknown = {name.split(".")[0] for name in tensors} - {str(member) for member in range(description.members)}
    if unknown:
        raise ConfigError(f"the policy has tensors that belong to none of its members: {', '.join(sorted(unknown))}")
    return Policy(description, networks)
