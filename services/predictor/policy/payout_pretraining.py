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
from services.predictor.policy.environment import SO_FAR_WIDTH, Episodes
from services.predictor.policy.hyperparameters import Learning
from services.predictor.policy.q_network import QNetwork, Seen, seen_at
from services.predictor.policy.transitions import winners

LONGEST_STEP = 1.0
"""Of a gradient: a batch with several long shots must not undo what was learned before."""


class Payments:
    """Trains the payout head on m winners: event row and slot (m, 2) and the log payout per unit (m,)."""

    def __init__(self, seen: Seen, episodes: Episodes, learning: Learning, rng: np.random.Generator) -> None:
        self._seen, self._learning, self._rng = seen, learning, rng
        self._paid = np.argwhere(winners(episodes))
        row, slot = self._paid.T
        self._log_payment = torch.from_numpy(np.log(episodes.reward[row, slot] + 1.0)).float()

    def learn(self, network: QNetwork) -> Iterator[float]:
        """Yields the mean loss of each pass over the winners; the network is in evaluation mode at each yield."""
        learning, batches = self._learning, -(-len(self._paid) // self._learning.market_batch)
        optimizer = torch.optim.AdamW(network.parameters(), learning.market_rate, weight_decay=learning.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning.market_rate, total_steps=batches * max(learning.market_epochs, 1)
        )
        for _ in range(learning.market_epochs):
            network.train()
            losses = []
            for places in np.array_split(self._rng.permutation(len(self._paid)), batches):
                losses.append(self._loss(network, places))
                follow(losses[-1], network, optimizer)
                schedule.step()
            network.eval()
            yield float(np.mean([loss.item() for loss in losses]))

    def some_loss(self, network: QNetwork) -> Tensor:
        """Loss on a uniform sample of winners."""
        return self._loss(network, self._rng.integers(0, len(self._paid), self._learning.market_batch))

    def _loss(self, network: QNetwork, places: Ints) -> Tensor:
        """Mean squared error of the log payout."""
        row, slot = self._paid[places].T
        said = network(seen_at(self._seen, row, np.zeros((len(row), SO_FAR_WIDTH)))).log_payout
        return torch.mean((said[torch.arange(len(row)), slot] - self._log_payment[places]) ** 2)


def follow(loss: Tensor, network: QNetwork, optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step with a clipped gradient."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), LONGEST_STEP)
    optimizer.step()
