"""Values that do not change, by the clock of the process that watches them."""

from __future__ import annotations

from shared.broker.postgres.staleness import UnchangedValues


def test_only_a_value_that_stays_the_same_long_enough_is_stale() -> None:
    seen: UnchangedValues[str, int] = UnchangedValues()
    for now_s in range(6):
        seen.observe({"dead": 7, "alive": now_s}, now_s)

    assert seen.longer_than(4, 5) == {"dead": 7}
    assert seen.longer_than(5, 5) == {}


def test_a_key_that_was_missing_is_seen_anew() -> None:
    seen: UnchangedValues[str, int] = UnchangedValues()
    seen.observe({"a": 1}, 0)
    seen.observe({}, 1)
    seen.observe({"a": 1}, 9)

    assert seen.longer_than(5, 10) == {}
