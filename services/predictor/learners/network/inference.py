"""Forward passes of a network, without gradients."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from services.predictor.features.inputs import Inputs
from services.predictor.learners.network.network import Logits, Network, NetworkBatch

# Events per forward pass: enough to be fast, few enough that a whole archive needs no extra memory.
CHUNK = 256


def logits_of(network: Network, inputs: Inputs) -> Logits:
    """Without dropout, in chunks. An event's logits do not depend on the other events."""
    network.eval()
    with torch.inference_mode():
        parts = [_forward(network, inputs[start : start + CHUNK]) for start in range(0, max(len(inputs), 1), CHUNK)]
        return Logits(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _forward(network: Network, inputs: Inputs) -> Logits:
    """A single event is computed as a batch of two copies: for a batch of one, torch lays out matrices and divides the
    work between threads differently, and the last bits differ."""
    if len(inputs) == 1:
        return Logits(*(part[:1] for part in network(batch_of(inputs[np.zeros(2, dtype=np.int64)]))))
    return network(batch_of(inputs))  # type: ignore[no-any-return]


def batch_of(inputs: Inputs) -> NetworkBatch:
    """Copies the arrays: torch aligns its own memory, and sums may depend on the alignment."""
    return NetworkBatch(*(torch.tensor(getattr(inputs, each.name)) for each in fields(inputs)))
