"""One temperature and one bias per slot, so that what the model calls 30 % happens three times in ten. Pure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from services.predictor.trained import Calibration

# How far calibration may lean away from "change nothing", as standard deviations of log-temperature and bias: with
# a few hundred events to fit on, seven free numbers would learn the noise.
LOG_TEMPERATURE_SPREAD, BIAS_SPREAD = 0.06, 0.04
STEPS = 60


def calibrate(result: Tensor, winner: Tensor, weight: float = 1.0) -> Calibration:
    """result (n, S) logits, winner (n,) slot index; the most probable calibration under a normal prior.

    `weight` is below 1 where an event appears more than once: it is one outcome all the same.
    """
    logits = result.double().clone()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        fit = weight * functional.cross_entropy(logits / log_temperature.exp() + bias, winner, reduction="sum")
        prior = (log_temperature / LOG_TEMPERATURE_SPREAD) ** 2 + ((bias / BIAS_SPREAD) ** 2).sum()
        loss = fit + prior / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    if len(winner):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Calibration(temperature=float(log_temperature.detach().exp()), slot_bias=tuple(bias.detach().tolist()))
