"""A linear layer whose result for an event does not depend on which other events are computed with it.

A matrix product over a whole batch adds up its sums in another order for another number of rows. Serving must give the
same bits however its batches are cut, so there each event is a product of its own, all of the same shape. Where in
memory a matrix begins changes that order too, so all of them begin on a cache line.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Numbers of single precision in a cache line.
LINE = 16


class EventLinear(nn.Linear):
    """(B, ..., in) -> (B, ..., out); while training as nn.Linear, which is half as slow."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        if self.training:
            return functional.linear(input, self.weight, self.bias)
        within, without = -self.in_features % LINE, -self.out_features % LINE
        rows = input.reshape(len(input), input.shape[1:-1].numel(), self.in_features)
        rows = functional.pad(rows, (0, within)) if within else rows
        weight = functional.pad(self.weight, (0, within, 0, without)).t().expand(len(rows), -1, -1)
        if self.bias is None:
            made = torch.bmm(rows, weight)
        else:
            bias = functional.pad(self.bias, (0, without))
            made = torch.baddbmm(bias.expand(len(rows), rows.shape[1], -1), rows, weight)
        return made[..., : self.out_features].reshape(*input.shape[:-1], self.out_features)
