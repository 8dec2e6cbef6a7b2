"""A network asked, without gradients."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from services.predictor.features.inputs import Inputs
from services.predictor.learners.network.network import Batch, Logits, Network

# Events per forward pass: enough to be fast, few enough that a whole archive needs no extra memory.
CHUNK = 256


def logits_of(network: Network, inputs: Inputs) -> Logits:
    """Without dropout, in chunks; the same for an event whatever is beside it."""
    network.eval()
    with torch.inference_mode():
        parts = [_told(network, inputs[start : start + CHUNK]) for start in range(0, max(len(inputs), 1), CHUNK)]
        return Logits(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _told(network: Network, inputs: Inputs) -> Logits:
    """A lone event is asked about twice: with one alone, torch lays out its matrices and shares the work between
    threads in another way, and the last bits differ."""
    if len(inputs) == 1:
        return Logits(*(part[:1] for part in network(batch_of(inputs[np.zeros(2, dtype=np.int64)]))))
    return network(batch_of(inputs))  # type: ignore[no-any-return]


def batch_of(inputs: Inputs) -> Batch:
    """Copies: torch aligns its own memory, and sums may depend on the alignment."""
    return Batch(*(torch.tensor(getattr(inputs, each.name)) for each in fields(inputs)))
