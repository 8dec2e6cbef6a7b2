"""Digests: several notifications in one message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.delivery.digest import count_fitting, digest_text


def test_short_texts_are_shown_whole() -> None:
    assert digest_text(["a\nb", "c"], 100) == "**2 notifications**\n\na\nb\n\nc"


def test_texts_that_do_not_fit_are_shown_by_their_first_lines() -> None:
    assert digest_text(["a\n" + "b" * 100, "c\nd"], 50) == "**2 notifications**\na\nc"


def test_one_text_is_shown_as_it_is() -> None:
    assert digest_text(["a\nb"], 1) == "a\nb"


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=30), st.integers(30, 300))
def test_as_many_are_counted_as_fit(texts: list[str], max_length: int) -> None:
    def fits(count: int) -> bool:
        return len(digest_text(texts[:count], max_length).encode("utf-16-le", "surrogatepass")) // 2 <= max_length

    count = count_fitting(texts, max_length)

    assert 1 <= count <= len(texts)
    assert count == 1 or fits(count)
    assert count == len(texts) or not fits(count + 1)
