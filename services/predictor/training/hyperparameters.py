"""Chooses the members of the ensemble and their settings by the number of training events."""

from __future__ import annotations

from dataclasses import dataclass

from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.network.fit import OptimizerConfig
from services.predictor.policy.hyperparameters import DqnConfig

# From this number of events on, the full ensemble is trained.
FULL_ENSEMBLE_EVENTS = 12_000


@dataclass(frozen=True)
class EnsembleConfig:
    """`networks`: number of networks, which differ by seed; `width` and `dropout` are theirs. `card_trees`,
    `observation_trees`: number of tree members for the result, in one state each; `top3_trees`: for the first three
    places, in each state. `places`: the linear terms and result trees also learn from the second and third place: more
    data, of less relevance. `tree_share`: prior weight of the result trees in the pool. `policy`: None trains none."""

    networks: int
    card_trees: int
    observation_trees: int
    top3_trees: int
    width: int
    dropout: float
    network: OptimizerConfig
    boosting: BoostingOptions
    policy: DqnConfig | None
    policy_members: int = 3
    places: bool = False
    tree_share: float = 0.5


FULL = EnsembleConfig(
    networks=3,
    card_trees=1,
    observation_trees=3,
    top3_trees=1,
    width=96,
    dropout=0.3,
    network=OptimizerConfig(),
    boosting=BoostingOptions(),
    policy=DqnConfig(),
)
SHORT = EnsembleConfig(
    networks=2,
    card_trees=1,
    observation_trees=1,
    top3_trees=0,
    width=48,
    dropout=0.3,
    network=OptimizerConfig(epochs=8, batch=64, learning_rate=6e-4, weight_decay=0.5, average=0.98),
    boosting=BoostingOptions(leaves=6, min_rows_in_leaf=120, rate=0.06, max_trees=300, patience_trees=30),
    policy=DqnConfig(market_epochs=4, epochs=2),
    policy_members=1,
    places=True,
    tree_share=0.2,
)


def ensemble_config_for(events: int) -> EnsembleConfig:
    """A short season gets fewer and smaller members, because a large ensemble would mostly fit noise."""
    return FULL if events >= FULL_ENSEMBLE_EVENTS else SHORT
