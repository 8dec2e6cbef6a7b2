"""Pretrains a Q network on the payouts of winners in settled events, without any return.

A winner's payout is one over the market's share on it: far less noisy than a return, which is mostly zero. With payouts
learned first, returns only have to correct the product of probability and payout.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from services.predictor.data.events import Ints
from services.predictor.policy.environment import SESSION_STATE_WIDTH, Episodes
from services.predictor.policy.hyperparameters import DqnConfig
from services.predictor.policy.q_network import QInputs, QNetwork, inputs_at
from services.predictor.policy.transitions import winners

MAX_GRADIENT_NORM = 1.0
"""Of a gradient: a batch with several long shots must not undo what was learned before."""


class PayoutPretraining:
    """Trains the payout head on m winners: event row and slot (m, 2) and the log payout per unit (m,)."""

    def __init__(self, inputs: QInputs, episodes: Episodes, config: DqnConfig, rng: np.random.Generator) -> None:
        self._inputs, self._config, self._rng = inputs, config, rng
        self._winners = np.argwhere(winners(episodes))
        row, slot = self._winners.T
        self._log_payout = torch.from_numpy(np.log(episodes.reward[row, slot] + 1.0)).float()

    def learn(self, network: QNetwork) -> Iterator[float]:
        """Yields the mean loss of each pass over the winners; the network is in evaluation mode at each yield."""
        config, batches = self._config, -(-len(self._winners) // self._config.market_batch)
        optimizer = torch.optim.AdamW(network.parameters(), config.market_rate, weight_decay=config.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.market_rate, total_steps=batches * max(config.market_epochs, 1)
        )
        for _ in range(config.market_epochs):
            network.train()
            losses = []
            for indices in np.array_split(self._rng.permutation(len(self._winners)), batches):
                losses.append(self._loss(network, indices))
                gradient_step(losses[-1], network, optimizer)
                schedule.step()
            network.eval()
            yield float(np.mean([loss.item() for loss in losses]))

    def sampled_loss(self, network: QNetwork) -> Tensor:
        """Loss on a uniform sample of winners."""
        return self._loss(network, self._rng.integers(0, len(self._winners), self._config.market_batch))

    def _loss(self, network: QNetwork, indices: Ints) -> Tensor:
        """Mean squared error of the log payout."""
        row, slot = self._winners[indices].T
        log_payout = network(inputs_at(self._inputs, row, np.zeros((len(row), SESSION_STATE_WIDTH)))).log_payout
        return torch.mean((log_payout[torch.arange(len(row)), slot] - self._log_payout[indices]) ** 2)


def gradient_step(loss: Tensor, network: QNetwork, optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step with a clipped gradient."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
