"""The texts and ids of findings by the default templates, to the byte.

They have been the same since before there were templates. A changed id would send a notification a second time.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from services.notifier.findings.finding import (
    BigPayout,
    CalledOff,
    Daily,
    Digest,
    Finding,
    GradeResult,
    Payout,
    Surprise,
    Tip,
    finding_id,
)
from services.notifier.findings.variables import variables_of
from services.notifier.texts.message import ZERO_WIDTH_SPACE
from services.notifier.texts.variables import VARIABLES
from tests.services.notifier.books import default_book
from tests.services.notifier.samples import DAY, SOURCE, event, session

EVENT = "Weir 2026-05-02, event 1, start 2026-05-02 11:00 UTC"
PLACES = "1. 2 Ben, 2. 1 Ada, 3. 3 Cy"
SCORES = (
    "Predictions: log loss 1.2500 nats over 20 events; the base rates of 4,000 events before this day give 1.5000"
    " (lower is better)"
)
PAYOUTS = (("Weir 4", Payout("2-1-3", 123_450)), ("@here 5", Payout("1-2-3", 99)))


class Expected(NamedTuple):
    finding: Finding
    lines: tuple[str, ...]
    id: str


EXPECTED = (
    Expected(
        Tip(event(), 2, 0.8, "m_1", "card"),
        (
            f"**Favourite** · {EVENT}",
            r"2 Ben: win probability 80.0%, predicted by m\_1",
            "Based on the card. This is a probability, not advice; no return is promised.",
        ),
        "4625f15d-cb75-5194-871e-c1ce6cb73715",
    ),
    Expected(
        Tip(event(names={}, scheduled_at=None, session=session(venue_name=None)), 2, 0.12345, "m1", "observation"),
        (
            "**Favourite** · venue 7 2026-05-02, event 1",
            "slot 2: win probability 12.3%, predicted by m1",
            "Based on the observation. This is a probability, not advice; no return is promised.",
        ),
        "4625f15d-cb75-5194-871e-c1ce6cb73715",
    ),
    Expected(
        BigPayout(event(), Payout("2-1-3", 123_450)),
        (f"**Big payout** · {EVENT}", "trifecta 2-1-3 paid 123,450 per 100 staked", PLACES),
        "63ea4a22-7244-50d9-8914-4288c86b9319",
    ),
    Expected(
        BigPayout(event(places=()), Payout("2-1-3", 1)),
        (f"**Big payout** · {EVENT}", "trifecta 2-1-3 paid 1 per 100 staked"),
        "31e8a40c-4501-50f7-94d4-c5ea7413db9d",
    ),
    Expected(
        GradeResult(event(session=session(grade=1, title="Cup*"))),
        (f"**Final result** · {EVENT}", r"Cup\* (grade 1)", PLACES),
        "a10c9e59-c4f0-5859-b27b-fed0331ef5e2",
    ),
    Expected(
        GradeResult(event(places=((1, 2), (1, 9)), session=session(grade=1))),
        (f"**Final result** · {EVENT}", "1. 2 Ben, 1. slot 9"),
        "fb37d570-ba08-5f20-9444-76a8bdac5881",
    ),
    Expected(
        Surprise(event(), 2, 0.031),
        (f"**Surprise** · {EVENT}", "2 Ben won; our last prediction gave a win probability of 3.1%"),
        "005cf6f6-4cdd-5673-a026-36c3d18d47c8",
    ),
    Expected(
        CalledOff(session(events=12, called_off_numbers=(11, 12))),
        ("**Called off** · Weir 2026-05-02", "2 of 12 events will not take place: 11, 12"),
        "83cb7b5b-1870-5a1c-9adc-54c958c54cd8",
    ),
    Expected(
        CalledOff(session(events=1, called_off_numbers=(1,))),
        ("**Called off** · Weir 2026-05-02", "1 of 1 event will not take place: 1"),
        "83cb7b5b-1870-5a1c-9adc-54c958c54cd8",
    ),
    Expected(
        Daily(Digest(SOURCE, DAY, {"settled": 23, "cancelled": 1}, PAYOUTS, 20, 1.25, 1.5, 4_000)),
        (
            "**Summary** · river 2026-05-02",
            "24 events: 1 cancelled, 23 settled",
            "Highest payouts per 100 staked:",
            "Weir 4: 2-1-3 paid 123,450",
            f"@{ZERO_WIDTH_SPACE}here 5: 1-2-3 paid 99",
            SCORES,
        ),
        "49a62051-fc2d-54a7-b5d4-a8c4a6e3236c",
    ),
    Expected(
        Daily(Digest(SOURCE, DAY, {"cancelled": 1})),
        ("**Summary** · river 2026-05-02", "1 event: 1 cancelled"),
        "49a62051-fc2d-54a7-b5d4-a8c4a6e3236c",
    ),
)
cases = pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.finding.kind)


def type_of(value: object) -> str:
    """The type of a value; of the first item if it is a list."""
    if isinstance(value, list | tuple):
        return f"list of {type_of(value[0])}" if value else "list"
    return f"{sorted(value)}" if isinstance(value, dict) else type(value).__name__


@cases
def test_the_text_of_a_finding_is_as_before(expected: Expected) -> None:
    finding = expected.finding

    rendering = default_book().text_of(finding.kind, finding.kind, variables_of(finding))

    assert rendering.text == "\n".join(expected.lines)
    assert rendering.error is None


@cases
def test_the_id_of_a_finding_is_as_before(expected: Expected) -> None:
    assert str(finding_id(expected.finding)) == expected.id


@cases
def test_a_finding_has_the_documented_variables(expected: Expected) -> None:
    variables, documented = variables_of(expected.finding), VARIABLES[expected.finding.kind]

    assert variables.keys() == {each.name for each in documented}
    for each in documented:
        assert type_of(variables[each.name]) in {type_of(each.sample), type_of(each.sparse)}, each.name


def test_payouts_of_two_markets_have_different_ids() -> None:
    exacta, quinella = (BigPayout(event(), Payout("1-2", 700, market)) for market in ("exacta", "quinella"))

    assert finding_id(exacta) != finding_id(quinella)


def test_names_in_a_text_are_escaped() -> None:
    finding = Surprise(event(names={2: "@everyone **x**"}), 2, 0.01)

    text = default_book().text_of("surprise", "surprise", variables_of(finding)).text

    assert "@everyone" not in text
    assert "**x**" not in text
