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
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.environment import ABSTAIN, Episodes, SessionState, play
from services.predictor.policy.hyperparameters import DqnConfig, EpochMetrics, EvaluateNetwork
from services.predictor.policy.payout_pretraining import PayoutPretraining, gradient_step
from services.predictor.policy.q_network import QNetwork, inputs_at, q_inputs_of
from services.predictor.policy.replay_buffer import ReplayBuffer, Transitions
from services.predictor.policy.shaping import fit_mean_payout, session_potentials
from services.predictor.policy.transitions import clip_payouts, transitions_of, winners

BUFFER_EPOCHS = 2
AVERAGE_WARMUP_STEPS = 10
"""Warm-up of the running mean of weights: early on it averages over the steps taken so far, as a plain mean does."""


def train_network(
    context: PolicyContext, episodes: Episodes, config: DqnConfig, evaluate: EvaluateNetwork | None = None
) -> tuple[QNetwork, list[EpochMetrics]]:
    """Returns a trained network in evaluation mode, and its learning curve.

    Bit-identical for the same seed and number of threads. The caller's random state is unchanged. Raises ValueError if
    no event paid a winner.
    """
    if not winners(episodes).any():
        raise ValueError("no event paid a winner: there are no returns to train on")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _train_network(context, episodes, config, evaluate or (lambda _: {}))


def _train_network(
    context: PolicyContext, episodes: Episodes, config: DqnConfig, evaluate: EvaluateNetwork
) -> tuple[QNetwork, list[EpochMetrics]]:
    rng = np.random.default_rng(config.seed)
    inputs = q_inputs_of(context)
    width = (context.slots, context.slot.shape[2], context.event.shape[1])
    network = QNetwork(*width, config.width, config.dropout)
    network.standardise_by(inputs)
    pretraining = PayoutPretraining(inputs, episodes, config, rng)
    curve = [
        EpochMetrics(epoch, float("nan"), loss, evaluate(network))
        for epoch, loss in enumerate(pretraining.learn(network))
    ]
    dqn = DoubleDqn(network, context, clip_payouts(episodes, config.payout_quantile), pretraining, config, rng)
    for _ in range(config.epochs):
        td_loss, market_loss = dqn.run_epoch()
        curve.append(EpochMetrics(len(curve), td_loss, market_loss, evaluate(dqn.mean)))
    return dqn.mean, curve


class DoubleDqn:
    """`mean`: the network with the running mean of the weights, which is the result: single steps carry sampling
    noise."""

    def __init__(
        self,
        network: QNetwork,
        context: PolicyContext,
        episodes: Episodes,
        pretraining: PayoutPretraining,
        config: DqnConfig,
        rng: np.random.Generator,
    ) -> None:
        self._network, self._target, self.mean = network, deepcopy(network).eval(), deepcopy(network).eval()
        self._context, self._episodes, self._inputs = context, episodes, q_inputs_of(context)
        self._pretraining, self._config, self._rng = pretraining, config, rng
        self._optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
        self._potential = np.zeros(len(context))
        if config.shaping:
            self._potential = session_potentials(
                context.win, fit_mean_payout(context.win, episodes), episodes, config.gamma
            )
        self._buffer = ReplayBuffer(BUFFER_EPOCHS * len(context) * (context.slots + 1))
        self._steps = 0

    def run_epoch(self) -> tuple[float, float]:
        """Plays all sessions, stores the transitions and learns. Returns the mean TD loss and the mean payout loss."""
        actions, before = play(self._episodes, self._choose)
        fresh = transitions_of(self._episodes, actions, before, self._potential, self._config.gamma)
        self._buffer.add(fresh)
        losses = [self._step() for _ in range(-(-len(fresh) // self._config.batch))]
        td_loss, market_loss = np.mean(losses, axis=0)
        return float(td_loss), float(market_loss)

    def _step(self) -> tuple[float, float]:
        batch = self._buffer.sample(min(self._config.batch, len(self._buffer)), self._rng)
        targets = self._targets(batch)
        self._network.train()
        values = self._network(inputs_at(self._inputs, batch.row, batch.before)).actions
        error = (values.gather(1, torch.from_numpy(batch.action)[:, None])[:, 0] - targets) * self._precision(batch)
        td_loss = torch.mean(_huber(error, self._config.huber))
        market_loss = self._pretraining.sampled_loss(self._network)
        gradient_step(td_loss + self._config.market_weight * market_loss, self._network, self._optimizer)
        self._update_averages()
        return td_loss.item(), market_loss.item()

    @torch.no_grad()
    def _targets(self, batch: Transitions) -> Tensor:
        """The online network chooses the next action, the target network values it."""
        has_next = batch.following >= 0
        inputs = inputs_at(self._inputs, np.where(has_next, batch.following, 0), batch.after)
        choice = self._network.eval()(inputs).actions.argmax(dim=1, keepdim=True)
        next_values: Tensor = self._target(inputs).actions.gather(1, choice)[:, 0] * torch.from_numpy(has_next)
        return torch.from_numpy(batch.reward).float() + self._config.gamma * next_values

    def _precision(self, batch: Transitions) -> Tensor:
        """(b,): one over the standard deviation of the action's return. Abstaining has that of later returns, about
        one."""
        win = self._context.win[batch.row, np.maximum(batch.action - 1, 0)]
        return torch.from_numpy(np.where(batch.action == ABSTAIN, 1.0, np.sqrt(win))).float()

    @torch.no_grad()
    def _update_averages(self) -> None:
        self._steps += 1
        decay = min(self._config.average, self._steps / (self._steps + AVERAGE_WARMUP_STEPS))
        for average, current in zip(self.mean.parameters(), self._network.parameters(), strict=True):
            average.lerp_(current, 1.0 - decay)
        if self._steps % self._config.target_steps == 0:
            self._target.load_state_dict(self._network.state_dict())

    @torch.no_grad()
    def _choose(self, rows: Ints, session_state: SessionState) -> Ints:
        """Epsilon-greedy: the best action in this session state; with probability `chance`, a random one."""
        best = self._network.eval()(inputs_at(self._inputs, rows, session_state.matrix())).added.numpy().argmax(axis=1)
        available = np.concatenate([np.ones((len(rows), 1), dtype=np.bool_), self._context.occupied[rows]], axis=1)
        random_actions = self._rng.integers(0, available.shape[1], len(rows))
        random_actions = np.where(available[np.arange(len(rows)), random_actions], random_actions, ABSTAIN)
        return np.where(self._rng.random(len(rows)) < self._config.chance, random_actions, best)


def _huber(error: Tensor, delta: float) -> Tensor:
    """(b,) -> (b,)"""
    loss: Tensor = huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)
    return loss
