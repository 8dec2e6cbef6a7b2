"""A linear layer that computes each event independently."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from services.predictor.learners.network.linear import EventLinear


def layer(bias: bool = True) -> EventLinear:
    torch.manual_seed(4)
    return EventLinear(33, 20, bias=bias).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(9, 33), (9, 6, 33), (9, 6, 16, 33)])
def test_it_is_an_ordinary_linear_layer(bias: bool, shape: tuple[int, ...]) -> None:
    ours, rows = layer(bias), torch.randn(shape)
    theirs = nn.Linear(33, 20, bias=bias)
    theirs.load_state_dict(ours.state_dict())

    with torch.no_grad():
        torch.testing.assert_close(ours(rows), theirs(rows), rtol=0, atol=1e-6)
        assert torch.equal(ours.train()(rows), theirs(rows))


@pytest.mark.parametrize("parts", [(33,), (6, 33), (6, 16, 33)])
def test_an_event_gets_the_same_bits_in_every_batch(parts: tuple[int, ...]) -> None:
    ours, rows = layer(), torch.randn(300, *parts)

    with torch.no_grad():
        whole = ours(rows)
        for size in (1, 2, 7, 256):
            batches = [rows[start : start + size].clone() for start in range(0, 300, size)]
            assert torch.equal(torch.cat([ours(part) for part in batches]), whole), size
