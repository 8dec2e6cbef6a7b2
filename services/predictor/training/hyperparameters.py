"""How much is trained: members and their settings, by how much there is to learn from."""

from __future__ import annotations

from dataclasses import dataclass

from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.network.fit import Plan
from services.predictor.policy.hyperparameters import Learning

# From here on a season can carry the full ensemble.
LONG_SEASON = 12_000


@dataclass(frozen=True)
class Training:
    """`networks`: how many, differing by their seed; `width` and `dropout` are theirs. `card_trees`,
    `observation_trees`: of the result, one state each; `top3_trees`: of the first three places, in each state.
    `places`: lines and trees of the result learn from the second and third place too: more to learn from, of less to
    the point. `tree_share`: what the pool's prior gives the trees of the result. `policy`: None trains none."""

    networks: int
    card_trees: int
    observation_trees: int
    top3_trees: int
    width: int
    dropout: float
    network: Plan
    boosting: BoostingOptions
    policy: Learning | None
    policy_members: int = 3
    places: bool = False
    tree_share: float = 0.5


FULL = Training(
    networks=3,
    card_trees=1,
    observation_trees=3,
    top3_trees=1,
    width=96,
    dropout=0.3,
    network=Plan(),
    boosting=BoostingOptions(),
    policy=Learning(),
)
SHORT = Training(
    networks=2,
    card_trees=1,
    observation_trees=1,
    top3_trees=0,
    width=48,
    dropout=0.3,
    network=Plan(epochs=8, batch=64, learning_rate=6e-4, weight_decay=0.5, average=0.98),
    boosting=BoostingOptions(leaves=6, least_rows_in_leaf=120, rate=0.06, most_trees=300, patience_trees=30),
    policy=Learning(market_epochs=4, epochs=2),
    policy_members=1,
    places=True,
    tree_share=0.2,
)


def training_for(events: int) -> Training:
    """A short season gets fewer and smaller members: there most of what a large one finds is noise."""
    return FULL if events >= LONG_SEASON else SHORT
