"""A linear layer whose result for an event does not depend on which other events are computed with it.

A matrix product over a whole batch adds up its sums in another order for another number of rows. Serving must give the
same bits however its batches are cut, so there each event is a product of its own, all of the same shape.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class EventLinear(nn.Linear):
    """(B, ..., in) -> (B, ..., out); while training as nn.Linear, which is half as slow."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        if self.training:
            return functional.linear(input, self.weight, self.bias)
        rows = input.reshape(len(input), -1, self.in_features)
        weight = self.weight.t().expand(len(input), -1, -1)
        if self.bias is None:
            made = torch.bmm(rows, weight)
        else:
            made = torch.baddbmm(cast("Tensor", self.bias).expand(len(input), rows.shape[1], -1), rows, weight)
        return made.view(*input.shape[:-1], self.out_features)
