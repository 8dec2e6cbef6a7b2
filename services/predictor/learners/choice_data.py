"""Events as discrete choices: one alternative per entry, one of them chosen."""

from __future__ import annotations

from typing import NamedTuple

from services.predictor.data.events import Bools, Floats32, Ints


class ChoiceData(NamedTuple):
    """n events: `entry` (n, S, F) features, `occupied` (n, S), `winner` (n,) slot index or -1 for none. `training` and
    `validation` are row numbers; the validation rows select the penalty or the number of trees."""

    entry: Floats32
    occupied: Bools
    winner: Ints
    training: Ints
    validation: Ints

    @property
    def training_with_winner(self) -> Ints:
        """The training rows that have a winner."""
        return self.training[self.winner[self.training] >= 0]

    @property
    def validation_with_winner(self) -> Ints:
        return self.validation[self.winner[self.validation] >= 0]
