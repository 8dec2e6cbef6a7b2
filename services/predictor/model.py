"""The network: entries of an event look at each other, then three heads speak. Nothing but torch.

One token per entry and one for the event; two blocks of self-attention among them. Straight lines lead from the
entry features and the slot's own base rate to the result, so that the network only learns what a conditional logit
cannot say.

Shapes: B events, S slots, F entry features, E event features, T = 1 + S tokens, C = width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 3  # of the trend and of the behaviour: terciles
# Where a slot is empty: far below any logit, and still finite, so that no gradient becomes NaN.
EMPTY = -1e9


class Shape(BaseModel):
    """What must be known to build the network before its weights are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int
    entry_features: int
    event_features: int
    venues: int
    width: int = 48
    layers: int = 2
    heads: int = 4
    dropout: float = 0.3


class Logits(NamedTuple):
    """result (B, S), top3 (B, S), trend (B, 3), behaviour (B, S, 3)."""

    result: Tensor
    top3: Tensor
    trend: Tensor
    behaviour: Tensor


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, taken: Tensor) -> Tensor:
        b, t, c = x.shape
        parts = self.queries_keys_values(x).view(b, t, 3, self.heads, c // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # 3 x (B, heads, T, C / heads)
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // self.heads)  # (B, heads, T, T)
        weights = scores.masked_fill(~taken[:, None, None, :], EMPTY).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).reshape(b, t, c)  # (B, heads, T, C / heads) -> (B, T, C)
        return self.out(mixed)  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attention = Attention(shape.width, shape.heads)
        self.mlp = nn.Sequential(
            nn.Linear(shape.width, 2 * shape.width), nn.GELU(), nn.Linear(2 * shape.width, shape.width)
        )
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, taken: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_1(x), taken))
        return x + self.dropout(self.mlp(self.norm_2(x)))  # type: ignore[no-any-return]


class Network(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.entry_in = nn.Linear(shape.entry_features, shape.width)
        self.event_in = nn.Linear(shape.event_features, shape.width)
        self.slot = nn.Embedding(shape.slots, shape.width)
        self.venue = nn.Embedding(1 + shape.venues, shape.width)  # 0: a venue that training never met
        self.venue_slot = nn.Embedding(1 + shape.venues, shape.slots)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.straight = nn.Linear(shape.entry_features, 2, bias=False)
        self.base = nn.Parameter(torch.zeros(2, shape.slots))
        self.entry_out = nn.Linear(shape.width, 2 + CLASSES)
        self.event_out = nn.Linear(shape.width, CLASSES)
        for layer in (self.straight, self.entry_out, self.event_out, self.venue_slot):
            nn.init.zeros_(layer.weight)
        for head in (self.entry_out, self.event_out):
            nn.init.zeros_(head.bias)

    def start_from(self, win_rate: Tensor, top3_rate: Tensor) -> None:
        """Before any training: say the base rates of each slot, (S,) each."""
        with torch.no_grad():
            self.base.copy_(torch.stack([win_rate.log(), torch.logit(top3_rate)]))

    def forward(self, entry: Tensor, event: Tensor, taken: Tensor, venue: Tensor) -> Logits:
        """entry (B, S, F), event (B, E), taken (B, S) bool, venue (B,) int."""
        entries = self.entry_in(entry) + self.slot.weight  # (B, S, F) -> (B, S, C)
        whole = self.event_in(event) + self.venue(venue)  # (B, E) -> (B, C)
        x = self.dropout(torch.cat([whole[:, None], entries], dim=1))  # (B, T, C)
        present = torch.cat([torch.ones_like(taken[:, :1]), taken], dim=1)  # the event's own token is always there
        for block in self.blocks:
            x = block(x, present)
        x = self.norm(x)
        out = self.entry_out(x[:, 1:])  # (B, S, 2 + 3)
        lines = self.straight(entry) + self.base.T  # (B, S, 2)
        result = out[..., 0] + lines[..., 0] + self.venue_slot(venue)
        return Logits(
            result=result.masked_fill(~taken, EMPTY),
            top3=out[..., 1] + lines[..., 1],
            trend=self.event_out(x[:, 0]),
            behaviour=out[..., 2:],
        )


def loss_of(logits: Logits, places: Tensor, trend: Tensor, behaviour: Tensor, taken: Tensor) -> Tensor:
    """Plackett-Luce over the first three places, and the other heads beside it.

    places (B, S) with 0 for none; trend (B,), behaviour (B, S) with -1 for unknown.
    """
    top3 = functional.binary_cross_entropy_with_logits(
        logits.top3, ((places >= 1) & (places <= 3)).float(), weight=taken.float()
    )
    beside = (
        functional.cross_entropy(logits.trend, trend, ignore_index=-1, reduction="sum") / len(trend)
        + functional.cross_entropy(
            logits.behaviour.flatten(0, 1), behaviour.flatten(), ignore_index=-1, reduction="sum"
        )
        / behaviour.numel()
    )
    return places_loss(logits.result, places) + 0.3 * (top3 + beside)


# How much the second and third place teach, next to the first: they are drawn from fewer rivals and with more luck.
PLACE_WEIGHTS = (1.0, 0.4, 0.2)


def places_loss(result: Tensor, places: Tensor) -> Tensor:
    """Mean over events: -log P(first), then of the second among those left, then of the third; (B, S) each."""
    total = torch.zeros(len(result))
    usable = torch.ones(len(result), dtype=torch.bool)
    for place, weight in enumerate(PLACE_WEIGHTS, start=1):
        here = places == place
        usable = usable & (here.sum(dim=1) == 1)  # a dead heat ends what can be said
        left = result.masked_fill((places >= 1) & (places < place), EMPTY)
        chosen = (left.log_softmax(dim=1) * here).sum(dim=1)  # (B, S) -> (B,)
        total = total - weight * torch.where(usable, chosen, torch.zeros_like(chosen))
    return total.mean()
