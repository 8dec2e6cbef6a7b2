"""Trains a double DQN on settled history (van Hasselt, Guez and Silver, 2016), with a target network and shaped
rewards.

The network learns payouts first, then returns. Each epoch plays all sessions with the current policy and some random
actions, and then learns from as many samples of the replay buffer as the epoch added transitions.

Returns are rare and large. Before the Huber loss, errors are therefore divided by the standard deviation of the return,
1 / sqrt(probability) for a roughly fair bet. This weights states and does not shift the mean of an action.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from services.predictor.data.events import Ints
from services.predictor.policy.context import Scene
from services.predictor.policy.environment import ABSTAIN, Episodes, SoFar, play
from services.predictor.policy.hyperparameters import Learning, Progress, Watch
from services.predictor.policy.payout_pretraining import Payments, follow
from services.predictor.policy.q_network import QNetwork, seen_at, tensors_of
from services.predictor.policy.replay_buffer import ReplayBuffer, Transitions
from services.predictor.policy.shaping import mean_payout, potential
from services.predictor.policy.transitions import clipped, transitions_of, winners

PASSES_KEPT = 2
FIRST_STEPS = 10
"""Warm-up of the running mean of weights: early on it averages over the steps taken so far, as a plain mean does."""


def learn(
    scene: Scene, episodes: Episodes, learning: Learning, watch: Watch | None = None
) -> tuple[QNetwork, list[Progress]]:
    """Returns a trained network in evaluation mode, and its learning curve.

    Bit-identical for the same seed and number of threads. The caller's random state is unchanged. Raises ValueError if
    no event paid a winner.
    """
    if not winners(episodes).any():
        raise ValueError("no event paid a winner: there are no returns to train on")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learning.seed)
        return _learn(scene, episodes, learning, watch or (lambda _: {}))


def _learn(scene: Scene, episodes: Episodes, learning: Learning, watch: Watch) -> tuple[QNetwork, list[Progress]]:
    rng = np.random.default_rng(learning.seed)
    seen = tensors_of(scene)
    width = (scene.slots, scene.slot.shape[2], scene.event.shape[1])
    network = QNetwork(*width, learning.width, learning.dropout)
    network.standardise_by(seen)
    payments = Payments(seen, episodes, learning, rng)
    curve = [Progress(epoch, float("nan"), loss, watch(network)) for epoch, loss in enumerate(payments.learn(network))]
    dqn = DoubleDqn(network, scene, clipped(episodes, learning.payout_quantile), payments, learning, rng)
    for _ in range(learning.epochs):
        td_loss, market_loss = dqn.one_pass()
        curve.append(Progress(len(curve), td_loss, market_loss, watch(dqn.mean)))
    return dqn.mean, curve


class DoubleDqn:
    """`mean`: the network with the running mean of the weights, which is the result: single steps carry sampling
    noise."""

    def __init__(
        self,
        network: QNetwork,
        scene: Scene,
        episodes: Episodes,
        payments: Payments,
        learning: Learning,
        rng: np.random.Generator,
    ) -> None:
        self._network, self._target, self.mean = network, deepcopy(network).eval(), deepcopy(network).eval()
        self._scene, self._episodes, self._seen = scene, episodes, tensors_of(scene)
        self._payments, self._learning, self._rng = payments, learning, rng
        self._optimizer = torch.optim.AdamW(network.parameters(), learning.rate, weight_decay=learning.decay)
        self._potential = np.zeros(len(scene))
        if learning.shaping:
            self._potential = potential(scene.win, mean_payout(scene.win, episodes), episodes, learning.gamma)
        self._buffer = ReplayBuffer(PASSES_KEPT * len(scene) * (scene.slots + 1))
        self._steps = 0

    def one_pass(self) -> tuple[float, float]:
        """Plays all sessions, stores the transitions and learns. Returns the mean TD loss and the mean payout loss."""
        actions, before = play(self._episodes, self._choose)
        fresh = transitions_of(self._episodes, actions, before, self._potential, self._learning.gamma)
        self._buffer.add(fresh)
        losses = [self._step() for _ in range(-(-len(fresh) // self._learning.batch))]
        td_loss, market_loss = np.mean(losses, axis=0)
        return float(td_loss), float(market_loss)

    def _step(self) -> tuple[float, float]:
        drawn = self._buffer.sample(min(self._learning.batch, len(self._buffer)), self._rng)
        aim = self._aim(drawn)
        self._network.train()
        told = self._network(seen_at(self._seen, drawn.row, drawn.before)).actions
        error = (told.gather(1, torch.from_numpy(drawn.action)[:, None])[:, 0] - aim) * self._precision(drawn)
        td_loss = torch.mean(_huber(error, self._learning.huber))
        market_loss = self._payments.some_loss(self._network)
        follow(td_loss + self._learning.market_weight * market_loss, self._network, self._optimizer)
        self._remember_weights()
        return td_loss.item(), market_loss.item()

    @torch.no_grad()
    def _aim(self, drawn: Transitions) -> Tensor:
        """The online network chooses the next action, the target network values it."""
        going_on = drawn.following >= 0
        seen = seen_at(self._seen, np.where(going_on, drawn.following, 0), drawn.after)
        choice = self._network.eval()(seen).actions.argmax(dim=1, keepdim=True)
        ahead: Tensor = self._target(seen).actions.gather(1, choice)[:, 0] * torch.from_numpy(going_on)
        return torch.from_numpy(drawn.reward).float() + self._learning.gamma * ahead

    def _precision(self, drawn: Transitions) -> Tensor:
        """(b,): one over the standard deviation of the action's return. Abstaining has that of later returns, about
        one."""
        win = self._scene.win[drawn.row, np.maximum(drawn.action - 1, 0)]
        return torch.from_numpy(np.where(drawn.action == ABSTAIN, 1.0, np.sqrt(win))).float()

    @torch.no_grad()
    def _remember_weights(self) -> None:
        self._steps += 1
        share = min(self._learning.average, self._steps / (self._steps + FIRST_STEPS))
        for kept, now in zip(self.mean.parameters(), self._network.parameters(), strict=True):
            kept.lerp_(now, 1.0 - share)
        if self._steps % self._learning.target_steps == 0:
            self._target.load_state_dict(self._network.state_dict())

    @torch.no_grad()
    def _choose(self, rows: Ints, so_far: SoFar) -> Ints:
        """Epsilon-greedy: the best action in this session state; with probability `chance`, a random one."""
        best = self._network.eval()(seen_at(self._seen, rows, so_far.matrix())).added.numpy().argmax(axis=1)
        there = np.concatenate([np.ones((len(rows), 1), dtype=np.bool_), self._scene.taken[rows]], axis=1)
        drawn = self._rng.integers(0, there.shape[1], len(rows))
        drawn = np.where(there[np.arange(len(rows)), drawn], drawn, ABSTAIN)
        return np.where(self._rng.random(len(rows)) < self._learning.chance, drawn, best)


def _huber(error: Tensor, delta: float) -> Tensor:
    """(b,) -> (b,)"""
    loss: Tensor = huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)
    return loss
