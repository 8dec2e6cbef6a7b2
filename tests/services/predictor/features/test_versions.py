"""Values of keys over time, compared with a list of all versions."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.predictor.features.versions import INITIAL_ROW, NO_ROW, VersionedStore

KEYS = st.sampled_from(["a", "b", "c", None])
LINES = st.lists(st.tuples(st.integers(0, 3), st.lists(KEYS, min_size=2, max_size=2)), max_size=6)
Line = tuple[float, list[Hashable]]


def store_of(batches: list[list[Line]]) -> VersionedStore:
    """Each row's value counts the versions of its key: 1, 2, 3 ..."""
    versions = VersionedStore(np.zeros(1))
    for lines in batches:
        rows = versions.extend([when for when, _ in lines], [keys for _, keys in lines])
        for new, before, _ in rows.rounds():
            versions.values[new] = versions.values[before] + 1
    return versions


def with_times(batches: list[list[tuple[int, list[Hashable]]]]) -> list[list[Line]]:
    """Steps in time as instants."""
    instants = accumulate(step for lines in batches for step, _ in lines)
    return [[(float(next(instants)), keys) for _, keys in lines] for lines in batches]


def newest(lines: list[Line], key: Hashable, when: float) -> float:
    """How many lines with the key were known by then."""
    return float(sum(key in keys for known, keys in lines if known <= when)) if key is not None else 0.0


@given(st.lists(LINES, max_size=4))
def test_a_read_as_of_an_instant_gives_what_was_known_then(steps: list[list[tuple[int, list[Hashable]]]]) -> None:
    batches = with_times(steps)
    versions, lines = store_of(batches), [line for batch in batches for line in batch]

    for key in ("a", "b", "c", None, "never"):
        for when in (-1.0, 0.0, 2.0, 4.5, 99.0):
            row = versions.as_of([key], [when])[0]
            assert versions.values[row, 0] == newest(lines, key, when)


@given(st.lists(LINES, max_size=4))
def test_several_batches_equal_one(steps: list[list[tuple[int, list[Hashable]]]]) -> None:
    batches = with_times(steps)
    apart, together = store_of(batches), store_of([[line for batch in batches for line in batch]])

    assert len(apart) == len(together)
    assert np.array_equal(apart.values[: len(apart)], together.values[: len(apart)])


@given(st.lists(LINES, min_size=1, max_size=4), st.data())
def test_rewinding_restores_the_earlier_state(
    steps: list[list[tuple[int, list[Hashable]]]], data: st.DataObject
) -> None:
    batches = with_times(steps)
    count = data.draw(st.integers(0, len(batches)))
    short, long = store_of(batches[:count]), store_of(batches)

    long.rewind(len(short))

    keys: list[Hashable] = ["a", "b", "c"]
    assert len(long) == len(short)
    assert np.array_equal(long.last(keys, [99.0] * 3, 4), short.last(keys, [99.0] * 3, 4))


def test_a_key_twice_in_a_line_follows_the_version_before_the_line() -> None:
    versions = VersionedStore(np.zeros(1))

    rows = versions.extend([1.0, 2.0], [["a", "a"], ["a", None]])

    assert rows.before.tolist() == [[INITIAL_ROW, INITIAL_ROW], [2, INITIAL_ROW]]
    assert rows.row.tolist() == [[1, 2], [3, NO_ROW]]
    assert versions.as_of(["a", "a"], [1.0, 2.0]).tolist() == [2, 3]


def test_the_last_rows_end_with_the_newest() -> None:
    versions = VersionedStore(np.zeros(1))
    versions.extend([1.0, 2.0, 3.0], [["a"], ["a"], ["a"]])

    assert versions.last(["a", "a", "b"], [3.0, 2.5, 3.0], 2).tolist() == [[2, 3], [1, 2], [INITIAL_ROW, INITIAL_ROW]]


def test_values_are_kept_when_the_store_grows() -> None:
    versions = store_of([[(float(at), ["a", "b"])] for at in range(3000)])

    assert len(versions) == 6001
    assert versions.values[versions.as_of(["a", "b"], [700.0, 9e9]), 0].tolist() == [701.0, 3000.0]
