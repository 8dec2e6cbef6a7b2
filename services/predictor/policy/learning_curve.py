"""Measures what a learning curve shows besides the losses: unshaped returns on events that are not trained on."""

from __future__ import annotations

import numpy as np
import torch

from services.predictor.data.events import Bools
from services.predictor.policy.baselines import always_slot
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.environment import Episodes
from services.predictor.policy.evaluate import BettingChoice, choice_of, most_worthy
from services.predictor.policy.hyperparameters import EvaluateNetwork
from services.predictor.policy.q_network import QNetwork, q_inputs_of

RETURN, OVER_FIRST, BETS, OWN_RETURN = "return", "over_first", "bets", "own_return"


def network_evaluator(context: PolicyContext, episodes: Episodes, share: float = 0.25) -> EvaluateNetwork:
    """`return`: betting on every event. `over_first`: return on the `share` of events of highest worth, minus that of
    as many bets on the most probable first slots. `bets`, `own_return`: where a bet is worth more than abstaining; the
    return is NaN if nowhere. The session state is zero for every event."""
    first_slot = choice_of(always_slot(context))
    inputs = q_inputs_of(context)

    def evaluate(network: QNetwork) -> dict[str, float]:
        with torch.no_grad():
            choice = choice_of(network(inputs).added[:, 1:].double().numpy(), threshold=0.0)
        bets = episodes.bets(choice.action)
        size = round(share * len(episodes))
        both = [_return(each, most_worthy(each, episodes, size), episodes) for each in (choice, first_slot)]
        return {
            RETURN: _return(choice, bets, episodes),
            OVER_FIRST: both[0] - both[1],
            BETS: float((bets & choice.wants_bet).sum()),
            OWN_RETURN: _return(choice, bets & choice.wants_bet, episodes),
        }

    return evaluate


def _return(choice: BettingChoice, chosen: Bools, episodes: Episodes) -> float:
    return 1.0 + float(np.mean(episodes.gain(choice.action)[chosen])) if chosen.any() else float("nan")
