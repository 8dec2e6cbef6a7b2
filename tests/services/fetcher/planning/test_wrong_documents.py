"""How often an answer that is not the document of its window counts, and when it closes the window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.fetcher.planning.cursor import WrongDocument, WrongKind
from services.fetcher.planning.wrong_documents import ClosingRules, after_wrong_document, closes

AT = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
RULES = ClosingRules(3, 3600, 7200)


def counts(*answers: tuple[float, str], kind: WrongKind = "other day") -> list[int]:
    """The count after each answer, of which the hours since AT and the hash are given."""
    known, found = None, []
    for hours, hash_ in answers:
        known = after_wrong_document(known, WrongDocument(kind, hash_, AT + timedelta(hours=hours)), RULES)
        found.append(known.equal_answers)
    return found


def test_equal_answers_count_after_growing_delays() -> None:
    assert counts((0, "a"), (0.9, "a"), (1, "a"), (2.9, "a"), (3, "a"), (5, "a")) == [1, 1, 2, 2, 3, 4]


def test_another_answer_begins_the_count_again() -> None:
    assert counts((0, "a"), (1, "a"), (3, "b"), (4, "b"), (5, "a")) == [1, 2, 1, 2, 1]


def test_an_answer_of_another_kind_begins_the_count_again() -> None:
    page = WrongDocument("block page", "a", AT, equal_answers=2)

    assert after_wrong_document(page, WrongDocument("other day", "a", AT), RULES).equal_answers == 1


def test_a_clock_that_was_set_back_counts_nothing() -> None:
    assert counts((0, "a"), (-24, "a")) == [1, 1]


def test_equal_documents_of_another_day_close_and_block_pages_never_do() -> None:
    assert not closes(WrongDocument("other day", "a", AT, equal_answers=2), RULES)
    assert closes(WrongDocument("other day", "a", AT, equal_answers=3), RULES)
    assert not closes(WrongDocument("block page", "a", AT, equal_answers=1000), RULES)
