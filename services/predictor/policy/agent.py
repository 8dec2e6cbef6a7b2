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
from services.predictor.learners.serial import Executor, serial_executor
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.dqn import train_network
from services.predictor.policy.environment import ABSTAIN, ChooseActions, Episodes, SessionState
from services.predictor.policy.hyperparameters import DqnConfig, EpochMetrics, EvaluateNetwork
from services.predictor.policy.q_network import QNetwork, q_inputs_of
from shared.errors import ConfigError
from shared.events import Decision

BATCH_EVENTS = 2048
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
    learning: DqnConfig


class PolicyDecisions(NamedTuple):
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
                action=action_name(action),
                values={action_name(at): value for at, value in enumerate(values) if np.isfinite(value)},
            )
            for action, values in zip(self.action.tolist(), self.values.tolist(), strict=True)
        ]


def action_name(action: int) -> str:
    """The action as written in a prediction: `abstain` or `back 3`."""
    return "abstain" if action == ABSTAIN else f"back {action}"


class DqnPolicy:
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

    def decide(self, context: PolicyContext, session_state: SessionState | None = None) -> PolicyDecisions:
        """With `session_state` None, every event is decided as the first of its session, with nothing staked."""
        self._check_widths(context)
        before = (
            SessionState(np.ones(len(context)), *np.zeros((2, len(context))))
            if session_state is None
            else session_state
        )
        parts = [slice(at, at + BATCH_EVENTS) for at in range(0, max(len(context), 1), BATCH_EVENTS)]
        values = np.concatenate([self._values(context[part], before[part]) for part in parts])
        return PolicyDecisions(values.argmax(axis=1).astype(np.int64), values)

    def action_chooser(self, context: PolicyContext) -> ChooseActions:
        """For `environment.play`: decides by the state of the session."""
        return lambda rows, so_far: self.decide(context[rows], so_far).action

    @torch.no_grad()
    def _values(self, context: PolicyContext, session_state: SessionState) -> Floats:
        inputs = q_inputs_of(context, session_state, torch.float64)
        added = torch.stack([network(inputs).added for network in self._networks]).mean(dim=0)
        return np.asarray(added.numpy().round(DECIMALS), dtype=np.float64)

    def _check_widths(self, context: PolicyContext) -> None:
        actual = (context.slots, context.slot.shape[2], context.event.shape[1])
        expected = (self.description.slots, self.description.slot_width, self.description.event_width)
        if actual != expected:
            raise ConfigError(
                f"the policy was trained on (slots, slot features, event features) {expected},"
                f" but this model provides {actual}"
            )


def train_policy(
    context: PolicyContext,
    episodes: Episodes,
    config: DqnConfig,
    members: int = 3,
    evaluate: EvaluateNetwork | None = None,
    executor: Executor = serial_executor,
) -> tuple[DqnPolicy, list[list[EpochMetrics]]]:
    """Returns the policy and a learning curve per member. Member m is trained with seed `config.seed` + m."""
    results = executor(
        [
            partial(
                train_network, context, episodes, config.model_copy(update={"seed": config.seed + member}), evaluate
            )
            for member in range(members)
        ]
    )
    description = PolicyDescription(
        slots=context.slots,
        slot_width=context.slot.shape[2],
        event_width=context.event.shape[1],
        members=members,
        events=len(context),
        learning=config,
    )
    return DqnPolicy(description, [network for network, _ in results]), [curve for _, curve in results]


def policy_of(description: PolicyDescription, tensors: Mapping[str, Tensor]) -> DqnPolicy:
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
    return DqnPolicy(description, networks)
