"""Counts equal answers that are not the document of their window, and decides when one closes it.

A document of another day closes its window after `equal_answers` of the declaration, like an incomplete document: the
source has none of that day. A page that is no document never does, however often it is equal: it says nothing about
the day, and the window stays open until the source answers otherwise or an operator accepts it.

A window with such an answer is fetched as often as one that failed, because the source may recover soon. An answer
counts only after the delay of a suspect document, so that three answers within some minutes close nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import msgspec

from services.fetcher.planning.cursor import WrongDocument
from shared.backoff import Backoff


class ClosingRules(NamedTuple):
    """Fields of `completeness` in the declaration."""

    equal_answers: int
    retry_s: float
    max_retry_s: float


def after_wrong_document(before: WrongDocument | None, answer: WrongDocument, rules: ClosingRules) -> WrongDocument:
    """What is known after `answer`, whose `counted_at` is its time."""
    if before is None or (before.kind, before.hash) != (answer.kind, answer.hash):
        return answer
    delay_s = Backoff(rules.retry_s, max(rules.retry_s, rules.max_retry_s)).delay_s(before.equal_answers)
    if answer.counted_at < before.counted_at + timedelta(seconds=delay_s):
        return before
    return msgspec.structs.replace(answer, equal_answers=before.equal_answers + 1)


def closes(wrong_document: WrongDocument, rules: ClosingRules) -> bool:
    """Whether the source has no document of the window's day."""
    return wrong_document.kind == "other day" and wrong_document.equal_answers >= rules.equal_answers
