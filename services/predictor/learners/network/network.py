"""The network: attention of each entry over its past starts, attention between the entries of an event, output heads.

There is one token per entry and one for the event. Linear terms lead straight from the entry features to the result:
one conditional logit per state of knowledge, fitted beforehand, so that the rest learns only what a logit cannot
express. The last event feature says whether the event was observed.

Shapes: B events, S slots, F entry features, E event features, H past starts, K values of a start, C width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from services.predictor.data.events import Floats
from services.predictor.learners.network.linear import EventLinear

CLASSES = 3  # of the trend and of the behaviour
# Logit of an empty slot: far below any other, yet finite, so that no gradient becomes NaN.
EMPTY = -1e9
# Scale of the log-odds of a top-three place, and of the places behind the winner, relative to winning.
TOP3_SCALE = 0.7


class Shape(BaseModel):
    """Everything needed to build the network before its weights are loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int
    entry_features: int
    event_features: int
    venues: int
    start_values: int
    width: int = 96
    start_width: int = 48
    layers: int = 2
    heads: int = 4
    dropout: float = 0.2


class LinearInit(NamedTuple):
    """Initial linear terms: per state, the weights (F,) and slot constants (S,) of a conditional logit; `top3_rate`
    (S,): how often each slot finishes in the first three."""

    card: Floats
    card_base: Floats
    observation: Floats
    observation_base: Floats
    top3_rate: Floats


class NetworkBatch(NamedTuple):
    """Inputs as tensors: entry (B, S, F), event (B, E), occupied (B, S), venue (B,), course (B, S),
    starts (B, S, H, K), started (B, S, H)."""

    entry: Tensor
    event: Tensor
    occupied: Tensor
    venue: Tensor
    course: Tensor
    starts: Tensor
    started: Tensor


class Logits(NamedTuple):
    """result (B, S); later (B, S): for the places behind the winner; top3 (B, S); trend (B, 3); behaviour (B, S, 3).

    embedding (B, C) of the event; attention (B, S, H): weight of each past start, with sum 1 if there is any.
    """

    result: Tensor
    later: Tensor
    top3: Tensor
    trend: Tensor
    behaviour: Tensor
    embedding: Tensor
    attention: Tensor


class EntryAttention(nn.Module):
    """Self-attention over the tokens of an event, then a feed-forward layer, each with a residual connection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = EventLinear(width, 3 * width)
        self.mixed = EventLinear(width, width)
        self.mlp = nn.Sequential(EventLinear(width, 2 * width), nn.GELU(), EventLinear(2 * width, width))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        x = x + self.dropout(self._attention(self.norm_1(x), present))
        return x + self.dropout(self.mlp(self.norm_2(x)))  # type: ignore[no-any-return]

    def _attention(self, x: Tensor, present: Tensor) -> Tensor:
        b, t, c = x.shape
        parts = self.queries_keys_values(x).view(b, t, 3, self.heads, c // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # 3 x (B, heads, T, C / heads)
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // self.heads)  # (B, heads, T, T)
        weights = scores.masked_fill(~present[:, None, None, :], EMPTY).softmax(-1)
        return self.mixed((weights @ v).transpose(1, 2).reshape(b, t, c))  # type: ignore[no-any-return]


class HistoryAttention(nn.Module):
    """Attention of each entry over its entity's past starts; an entry without any gets a learned vector."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, width = shape.heads, shape.start_width
        self.start = nn.Sequential(EventLinear(shape.start_values, width), nn.GELU())
        self.query = EventLinear(shape.width, width)
        self.key_value = EventLinear(width, 2 * width)
        self.out = EventLinear(width, shape.width)
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(self, entries: Tensor, starts: Tensor, started: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, C), (B, S, H, K), (B, S, H) -> (B, S, C), (B, S, H)"""
        b, s, h, _ = starts.shape
        width = self.query.out_features // self.heads
        k, v = self.key_value(self.start(starts)).view(b, s, h, 2, self.heads, width).permute(3, 0, 1, 4, 2, 5)
        q = self.query(entries).view(b, s, self.heads, 1, width)
        scores = (q @ k.transpose(-2, -1))[:, :, :, 0] / math.sqrt(k.shape[-1])  # (B, S, heads, H)
        weights = scores.masked_fill(~started[:, :, None], EMPTY).softmax(-1)
        mixed = (weights[:, :, :, None] @ v)[:, :, :, 0].flatten(2)  # (B, S, heads * width / heads)
        any_start = started.any(-1, keepdim=True)
        summary = self.out(torch.where(any_start, mixed, self.nothing))
        return summary, weights.mean(2) * any_start


class Network(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.entry_in = EventLinear(shape.entry_features, width)
        self.event_in = EventLinear(shape.event_features, width)
        self.slot = nn.Embedding(shape.slots, width)
        self.course = nn.Embedding(1 + shape.slots, width)
        self.venue = nn.Embedding(1 + shape.venues, width)  # 0: a venue unseen in training
        self.venue_lane = nn.Embedding((1 + shape.venues) * shape.slots, 2)
        self.past = HistoryAttention(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.rivals = nn.ModuleList(EntryAttention(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(width)
        self.lines = EventLinear(shape.entry_features, 4, bias=False)
        self.base = nn.Parameter(torch.zeros(4, shape.slots))
        self.entry_out = EventLinear(width, 3 + CLASSES)
        self.event_out = EventLinear(width, CLASSES)
        for layer in (self.lines, self.entry_out, self.event_out, self.venue_lane):
            nn.init.zeros_(layer.weight)
        for embedding in (self.slot, self.course, self.venue):
            nn.init.normal_(embedding.weight, std=0.1)
        for head in (self.entry_out, self.event_out):
            nn.init.zeros_(head.bias)

    def init_linear_terms(self, init: LinearInit) -> None:
        """Initialises the linear terms, before training."""
        with torch.no_grad():
            self.lines.weight[0], self.lines.weight[1] = torch.tensor(init.card), torch.tensor(init.observation)
            self.lines.weight[2] = self.lines.weight[3] = TOP3_SCALE * self.lines.weight[1]
            self.base[0], self.base[1] = torch.tensor(init.card_base), torch.tensor(init.observation_base)
            self.base[2] = torch.logit(torch.tensor(init.top3_rate))

    def forward(self, batch: NetworkBatch) -> Logits:
        entry, occupied = batch.entry, batch.occupied
        lane = torch.where(batch.course > 0, batch.course - 1, torch.arange(occupied.shape[1]))  # (B, S)
        at_venue = batch.venue[:, None] * occupied.shape[1] + lane
        entries = self.entry_in(entry) + self.slot.weight + self.course(batch.course)
        past, attention = self.past(entries, batch.starts, batch.started)
        event = self.event_in(batch.event) + self.venue(batch.venue)  # (B, E) -> (B, C)
        x = self.dropout(torch.cat([event[:, None], entries + past], dim=1))  # (B, 1 + S, C)
        present = torch.cat([torch.ones_like(occupied[:, :1]), occupied], dim=1)  # the event's token is always present
        for block in self.rivals:
            x = block(x, present)
        x = self.norm(x)
        out = self.entry_out(x[:, 1:])  # (B, S, 3 + 3)
        linear = self.lines(entry) + self.base.T  # (B, S, 4)
        linear_result = torch.where(batch.event[:, -1:] > 0.5, linear[..., 1], linear[..., 0])
        venue_lanes = self.venue_lane(at_venue)  # (B, S, 2)
        return Logits(
            result=(out[..., 0] + linear_result + venue_lanes[..., 0]).masked_fill(~occupied, EMPTY),
            later=(out[..., 2] + linear[..., 3]).masked_fill(~occupied, EMPTY),
            top3=out[..., 1] + linear[..., 2] + venue_lanes[..., 1],
            trend=self.event_out(x[:, 0]),
            behaviour=out[..., 3:],
            embedding=x[:, 0],
            attention=attention,
        )
