"""For any input, the cleaner returns a fact, returns a reason to filter it, or raises InvalidEvent."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cleaner.clean import Filtered, clean
from shared.errors import InvalidEvent
from shared.events import CLEAN_EVENT, CleanEvent, RawEvent
from tests.services.cleaner.synthetic_slices import blank_result, card, preview, raw, result

LONGEST_ERROR = 1_000

SLICES: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("programs", card),
    ("previews", preview),
    ("results", result),
    ("results", blank_result),
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-3, max_value=20)
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "1", "1-2", "2=1", "2031-05-06", "2031-05-06 12:34:00"])
    | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def outcome_of(event: RawEvent) -> CleanEvent | Filtered | InvalidEvent:
    try:
        return clean(event)
    except InvalidEvent as error:
        return error


def mutate(data: st.DataObject, node: Any) -> None:
    """Change one place in `node`, an object or array with something in it: drop it, replace it or go deeper."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = data.draw(st.sampled_from(keys))
    child = node[key]
    if isinstance(child, dict | list) and child and data.draw(st.integers(0, 3)):
        mutate(data, child)
    elif data.draw(st.integers(0, 3)):
        node[key] = data.draw(JSON)
    else:
        del node[key]


@settings(max_examples=400)
@given(
    data=st.data(),
    kind=st.sampled_from(SLICES),
    historical=st.booleans(),
    mutations=st.integers(min_value=1, max_value=4),
)
def test_a_mutated_slice_is_a_fact_or_invalid(
    data: st.DataObject, kind: tuple[str, Callable[[], dict[str, Any]]], historical: bool, mutations: int
) -> None:
    feed, new_slice = kind
    body = deepcopy(new_slice())  # the synthetic slices share their constant parts
    for _ in range(mutations):
        if body:
            mutate(data, body)

    outcome = outcome_of(raw(feed, body, historical=historical))

    if isinstance(outcome, InvalidEvent):
        assert len(str(outcome)) < LONGEST_ERROR
    elif not isinstance(outcome, Filtered):
        assert CLEAN_EVENT.validate_json(outcome.model_dump_json(exclude_none=True)) == outcome


@settings(max_examples=200)
@given(body=st.dictionaries(st.sampled_from(["table", "rows", "boats", "race_date", "payouts"]), JSON))
def test_any_object_is_a_fact_or_invalid(body: dict[str, Any]) -> None:
    outcomes = [outcome_of(raw(feed, body)) for feed in ("programs", "previews", "results", "reference")]

    assert all(len(str(outcome)) < LONGEST_ERROR for outcome in outcomes if isinstance(outcome, InvalidEvent))
