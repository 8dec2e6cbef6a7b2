"""A trained model: features in, calibrated probabilities out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional

from services.predictor.encoding import Encoding
from services.predictor.facts import Floats
from services.predictor.features import Features
from services.predictor.model import Logits, Network, Shape
from services.predictor.targets import Terciles

# Events per forward pass where figures over many are wanted: enough to be fast, few enough that a whole archive needs
# no extra memory.
CHUNK = 2048


class Calibration(BaseModel):
    """P(win) = softmax(logit / temperature + bias of the slot), fitted on validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float
    slot_bias: tuple[float, ...]


class Description(BaseModel):
    """All of a model but its weights, as it lies in model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: str
    last_day: str
    events: int
    seed: int
    market: str
    shape: Shape
    encoding: Encoding
    terciles: Terciles
    calibration: Calibration
    metrics: dict[str, float]


@dataclass(frozen=True)
class Probabilities:
    """win (n, S), top3 (n, S), trend (n, 3), behaviour (n, S, 3); win is 0 in empty slots."""

    win: Floats
    top3: Floats
    trend: Floats
    behaviour: Floats


@dataclass(frozen=True)
class Trained:
    version: str
    description: Description
    network: Network

    def probabilities(self, features: Features) -> Probabilities:
        """Each event by itself: in a common forward pass the last bits of its sums would depend on how many others
        there are, and the same prediction would not be the same record after another cut of the batches. Costs some
        0.7 s for 1,000 events instead of 0.05 s."""
        alone = [
            probabilities_of(logits_of(self.network, features[np.array([row])]), self.description.calibration)
            for row in range(len(features))
        ]
        return Probabilities(
            win=np.concatenate([told.win for told in alone]),
            top3=np.concatenate([told.top3 for told in alone]),
            trend=np.concatenate([told.trend for told in alone]),
            behaviour=np.concatenate([told.behaviour for told in alone]),
        )


def logits_of(network: Network, features: Features) -> Logits:
    """Without dropout and gradients, in chunks."""
    network.eval()
    with torch.inference_mode():
        parts = [network(*tensors_of(features[np.arange(*bounds)])) for bounds in _chunks(len(features))]
        return Logits(*(torch.cat(part) for part in zip(*parts, strict=True)))


def tensors_of(features: Features) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """In the order of Network.forward. Copies: torch aligns its own memory, and sums may depend on the alignment."""
    return (
        torch.tensor(features.entry),
        torch.tensor(features.event),
        torch.tensor(features.taken),
        torch.tensor(features.venue),
    )


def probabilities_of(logits: Logits, calibration: Calibration) -> Probabilities:
    result = logits.result.double() / calibration.temperature + torch.tensor(calibration.slot_bias, dtype=torch.float64)
    return Probabilities(
        win=functional.softmax(result, dim=-1).numpy(),
        top3=logits.top3.double().sigmoid().numpy(),
        trend=functional.softmax(logits.trend.double(), dim=-1).numpy(),
        behaviour=functional.softmax(logits.behaviour.double(), dim=-1).numpy(),
    )


def _chunks(count: int) -> list[tuple[int, int]]:
    return [(start, min(start + CHUNK, count)) for start in range(0, max(count, 1), CHUNK)]
