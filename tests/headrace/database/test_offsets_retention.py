"""Kafka's retention of offsets against that of the topics."""

from __future__ import annotations

from typing import cast

import pytest

from headrace.database.offsets_retention import warning_of_offsets_retention
from shared.broker.contract import Broker
from shared.topics import DAY_S, topic_specs


class ForgettingBroker:
    def __init__(self, offsets_s: float | None) -> None:
        self._offsets_s = offsets_s

    def offsets_retention_s(self) -> float | None:
        return self._offsets_s


def warning(offsets_s: float | None) -> str | None:
    return warning_of_offsets_retention(cast("Broker", ForgettingBroker(offsets_s)), topic_specs())


@pytest.mark.parametrize("offsets_s", [None, 90 * DAY_S])
def test_offsets_that_last_as_long_as_the_records_are_enough(offsets_s: float | None) -> None:
    assert warning(offsets_s) is None


def test_a_warning_of_offsets_that_expire_earlier_names_the_setting_to_change() -> None:
    text = warning(7 * DAY_S) or ""

    assert "after 7 days, but topic" in text
    assert "for 90 days" in text
    assert "set offsets.retention.minutes (KAFKA_OFFSETS_RETENTION_MINUTES) of each Kafka node to 129600" in text
