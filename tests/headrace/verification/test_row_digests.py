from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.verification.row_digests import RowDigests
from tests.services.loader.facts import at

rows = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.none() | st.sampled_from(["x", "y"])))


def differing(expected: list[Any], actual: list[Any]) -> list[str]:
    digests: RowDigests[str] = RowDigests()
    for row in expected:
        digests.add_expected(row[0], row)
    for row in actual:
        digests.add_actual(row[0], row)
    return sorted(digests.differing())


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Any], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert differing(rows, shuffled) == []


@given(rows, rows)
def test_a_group_differs_if_its_rows_do(expected: list[Any], actual: list[Any]) -> None:
    def of(group: str, rows: list[Any]) -> list[Any]:
        return sorted((row for row in rows if row[0] == group), key=str)

    assert differing(expected, actual) == [group for group in "ab" if of(group, expected) != of(group, actual)]


def test_a_time_is_the_same_in_every_zone() -> None:
    other = at(0).astimezone(timezone(timedelta(hours=9)))
    assert differing([("a", at(0), {"x": 1, "y": 2})], [("a", other, {"y": 2, "x": 1})]) == []
