"""The daily summary's figures."""

from __future__ import annotations

from math import log

import pytest

from services.notifier.findings.digest import DayRows, digest_of, win_shares
from services.notifier.findings.finding import Payout
from tests.services.notifier.samples import DAY, SOURCE


def test_model_and_base_rate_are_scored_on_the_same_events() -> None:
    rows = DayRows(
        {"settled": 3},
        log_losses={"a": 0.5, "b": 1.5, "dead heat": 9.0},
        winners={"a": 1, "b": 2, "not predicted": 3},
        wins={1: 59, 2: 35},
        slots=6,
    )

    digest = digest_of(SOURCE, DAY, rows, best_count=3)

    assert digest.scored_events == 2
    assert digest.log_loss == pytest.approx(1.0)
    assert digest.base_log_loss == pytest.approx(-(log(0.6) + log(0.36)) / 2)
    assert digest.base_events == 94


def test_without_history_the_base_rate_is_uniform() -> None:
    assert win_shares({}, 6) == dict.fromkeys(range(1, 7), pytest.approx(1 / 6))


def test_a_day_without_predictions_has_no_log_loss() -> None:
    digest = digest_of(SOURCE, DAY, DayRows({"cancelled": 12}), best_count=3)

    assert (digest.events, digest.scored_events, digest.log_loss, digest.base_log_loss) == (12, 0, None, None)


def test_the_highest_payouts_come_first() -> None:
    payouts = [("Weir 1", Payout("1-2-3", 500)), ("Mill 2", Payout("3-2-1", 900)), ("Lock 3", Payout("1-3-2", 500))]

    digest = digest_of(SOURCE, DAY, DayRows({"settled": 3}, payouts), best_count=2)

    assert [(place, payout.amount) for place, payout in digest.best_payouts] == [("Mill 2", 900), ("Lock 3", 500)]
