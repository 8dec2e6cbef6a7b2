"""A linear layer whose result for an event does not depend on the other events of the batch.

The order of the sums in a matrix product depends on the number of rows. Serving must give the same bits for every
batch size, so in evaluation mode each event is a matrix product of its own, all of the same shape. The order also
depends on the address at which a matrix begins, so each begins on a cache line.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# float32 values in a cache line.
CACHE_LINE = 16


class EventLinear(nn.Linear):
    """(B, ..., in) -> (B, ..., out). In training mode the same as nn.Linear, which takes half the time."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's parameter name
        if self.training:
            return functional.linear(input, self.weight, self.bias)
        input_padding, output_padding = -self.in_features % CACHE_LINE, -self.out_features % CACHE_LINE
        rows = input.reshape(len(input), input.shape[1:-1].numel(), self.in_features)
        rows = functional.pad(rows, (0, input_padding)) if input_padding else rows
        weight = functional.pad(self.weight, (0, input_padding, 0, output_padding)).t().expand(len(rows), -1, -1)
        if self.bias is None:
            product = torch.bmm(rows, weight)
        else:
            bias = functional.pad(self.bias, (0, output_padding))
            product = torch.baddbmm(bias.expand(len(rows), rows.shape[1], -1), rows, weight)
        return product[..., : self.out_features].reshape(*input.shape[:-1], self.out_features)
