"""How a tip came out, in words and colour."""

from __future__ import annotations

from services.notifier.findings.finding import Tip, finding_id
from services.notifier.findings.outcomes import tip_outcomes
from tests.services.notifier.samples import event


def test_the_winner_others_and_those_without_a_place() -> None:
    settled = event(status="settled", names={1: "Ana", 2: "Bea", 3: "Cid"}, places=((1, 2), (2, 1)))

    outcomes = {each.record_id: (each.line, each.colour) for each in tip_outcomes([settled])}

    assert [outcomes[finding_id(Tip(settled, slot, 0.9, "v", "card"))] for slot in (1, 2, 3)] == [
        ("**Result** came in place 2", "muted"),
        ("**Result** won", "good"),
        ("**Result** did not finish", "muted"),
    ]


def test_an_event_that_is_not_settled_or_has_no_places_says_nothing() -> None:
    assert tip_outcomes([event(status="listed", places=((1, 2),)), event(status="settled", places=())]) == []
