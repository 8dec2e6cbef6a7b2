"""Patterns for keys: what they match, and that no pattern takes long."""

from __future__ import annotations

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record
from shared.ops.dead_letter_choice import DeadLetterFilter
from shared.ops.replays import ReplayRequest, selector_of
from shared.topics import RAW
from tests.shared.ops.test_dead_letter_choice import letter

MAX_CPU_S = 10.0
keys = st.text("ab*?[]!-\n.\\", max_size=12)


def matches(pattern: str, key: str) -> bool:
    return DeadLetterFilter(key=pattern).matches(letter(key=key), "open")


def expected(pattern: str, key: str) -> bool:
    """The definition: a star matches any text, every other character itself."""
    if not pattern:
        return not key
    if pattern[0] == "*":
        return any(expected(pattern[1:], key[i:]) for i in range(len(key) + 1))
    return bool(key) and key[0] == pattern[0] and expected(pattern[1:], key[1:])


@given(keys, keys)
def test_a_star_matches_any_text_and_nothing_else_is_special(pattern: str, key: str) -> None:
    assert matches(pattern, key) == expected(pattern, key)


@given(st.lists(st.sampled_from(["a", "aa", "b", ""]), min_size=50, max_size=100))
def test_no_pattern_takes_long(parts: list[str]) -> None:
    """An expression that tries each star at every place would take longer than the age of the universe."""
    pattern, key = "*".join(parts)[:199] + "c", "a" * 200
    started_s = process_time()

    matches(pattern, key)
    selector_of(ReplayRequest(topic=RAW, keys=(pattern,)))(Record(RAW, 0, 0, 0, key.encode(), b"{}", {}))

    assert process_time() - started_s < MAX_CPU_S
