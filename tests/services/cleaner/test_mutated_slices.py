"""Whatever comes in, the cleaner states a fact, says why there is none, or refuses it as invalid; nothing else."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cleaner.clean import Filtered, clean
from shared.errors import InvalidEvent
from shared.events import CLEAN_EVENT, CleanEvent, RawEvent
from tests.services.cleaner.made import blank_result, card, preview, raw, result

LONGEST_ERROR = 1_000

FRESH: list[tuple[str, Callable[[], dict[str, Any]]]] = [
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


def answer_to(event: RawEvent) -> CleanEvent | Filtered | InvalidEvent:
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
    kind=st.sampled_from(FRESH),
    historical=st.booleans(),
    mutations=st.integers(min_value=1, max_value=4),
)
def test_a_mutated_slice_is_a_fact_or_invalid(
    data: st.DataObject, kind: tuple[str, Callable[[], dict[str, Any]]], historical: bool, mutations: int
) -> None:
    feed, fresh = kind
    body = deepcopy(fresh())  # the made-up slices share their constant parts
    for _ in range(mutations):
        if body:
            mutate(data, body)

    answer = answer_to(raw(feed, body, historical=historical))

    if isinstance(answer, InvalidEvent):
        assert len(str(answer)) < LONGEST_ERROR
    elif not isinstance(answer, Filtered):
        assert CLEAN_EVENT.validate_json(answer.model_dump_json(exclude_none=True)) == answer


@settings(max_examples=200)
@given(body=st.dictionaries(st.sampled_from(["table", "rows", "boats", "race_date", "payouts"]), JSON))
def test_any_object_is_a_fact_or_invalid(body: dict[str, Any]) -> None:
    answers = [answer_to(raw(feed, body)) for feed in ("programs", "previews", "results", "reference")]

    assert all(len(str(answer)) < LONGEST_ERROR for answer in answers if isinstance(answer, InvalidEvent))
