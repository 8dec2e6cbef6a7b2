"""Training loss of the network: Plackett-Luce over the first three places, plus the other heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from services.predictor.learners.network.network import EMPTY, Logits

# Weights of the places: the second and third are decided among fewer rivals and with more luck.
PLACE_WEIGHTS = (1.0, 0.4, 0.2)
AUXILIARY_WEIGHT = 0.3


def loss_of(logits: Logits, places: Tensor, trend: Tensor, behaviour: Tensor, occupied: Tensor) -> Tensor:
    """Mean over events. places (B, S) with 0 for no place; trend (B,), behaviour (B, S) with -1 for unknown."""
    top3 = functional.binary_cross_entropy_with_logits(
        logits.top3, ((places >= 1) & (places <= 3)).float(), weight=occupied.float()
    )
    auxiliary = (
        functional.cross_entropy(logits.trend, trend, ignore_index=-1, reduction="sum") / len(trend)
        + functional.cross_entropy(
            logits.behaviour.flatten(0, 1), behaviour.flatten(), ignore_index=-1, reduction="sum"
        )
        / behaviour.numel()
    )
    return places_loss(logits.result, logits.later, places) + AUXILIARY_WEIGHT * (top3 + auxiliary)


def places_loss(result: Tensor, later: Tensor, places: Tensor) -> Tensor:
    """-log P(first), then of the second among the remaining entries, then of the third (Plackett-Luce); (B, S) each.

    The places behind the winner have their own scores: what makes an entry win differs from what makes it second, and
    a shared score fits neither.
    """
    total = torch.zeros(len(result))
    is_known = torch.ones(len(result), dtype=torch.bool)
    for place, weight in enumerate(PLACE_WEIGHTS, start=1):
        here = places == place
        is_known = is_known & (here.sum(dim=1) == 1)  # after a dead heat the order is unknown
        remaining = (result if place == 1 else later).masked_fill((places >= 1) & (places < place), EMPTY)
        chosen = (remaining.log_softmax(dim=1) * here).sum(dim=1)  # (B, S) -> (B,)
        total = total - weight * torch.where(is_known, chosen, torch.zeros_like(chosen))
    return total.mean()
