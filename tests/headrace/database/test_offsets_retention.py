"""Kafka's retention of offsets against that of the topics."""

from __future__ import annotations

from typing import cast

import pytest

from headrace.database.offsets_retention import require_offsets_retention
from shared.broker.contract import Broker
from shared.errors import ConfigError
from shared.topics import DAY_S, topic_specs


class ForgettingBroker:
    def __init__(self, offsets_s: float | None) -> None:
        self._offsets_s = offsets_s

    def offsets_retention_s(self) -> float | None:
        return self._offsets_s


@pytest.mark.parametrize("offsets_s", [None, 90 * DAY_S])
def test_offsets_that_last_as_long_as_the_records_are_enough(offsets_s: float | None) -> None:
    require_offsets_retention(cast("Broker", ForgettingBroker(offsets_s)), topic_specs())


def test_offsets_that_expire_earlier_are_refused_with_the_setting_to_change() -> None:
    with pytest.raises(ConfigError, match=r"after 7 days, but .* 90 days: set offsets.retention.minutes .* to 129600"):
        require_offsets_retention(cast("Broker", ForgettingBroker(7 * DAY_S)), topic_specs())
