"""Tables of reference data, and the choice of the format by source and feed."""

from typing import Any

import pytest

from services.cleaner.clean import clean
from shared.errors import InvalidEvent
from shared.events import Listed, Reference
from tests.services.cleaner.synthetic_slices import DAY, FETCHED_AT, card, raw

KEY = "boatrace:reference:venues"
ROWS = [{"code": "1", "name": "Testhafen", "attributes": {"water": "salt"}}, {"code": 2, "name": "Probesee"}]


def test_a_table_becomes_a_complete_fact() -> None:
    fact = clean(raw("reference", {"table": "venues", "rows": ROWS}, event_key=KEY))

    assert isinstance(fact, Reference)
    assert (fact.table, fact.known_at) == ("venues", FETCHED_AT)
    assert [(row.code, row.name, row.attributes) for row in fact.rows] == [
        ("1", "Testhafen", {"water": "salt"}),
        ("2", "Probesee", {}),
    ]


IMPOSSIBLE: dict[str, Any] = {
    "the table of another key": {"table": "grades", "rows": ROWS},
    "no rows": {"table": "venues"},
    "a row that is a text": {"table": "venues", "rows": ["Testhafen"]},
    "a row without a name": {"table": "venues", "rows": [{"code": "1", "name": None}]},
    "a row without a code": {"table": "venues", "rows": [{"name": "Testhafen"}]},
    "a row with attributes in an array": {"table": "venues", "rows": [{"code": "1", "name": "A", "attributes": [1]}]},
    "an attribute that no database can hold": {
        "table": "venues",
        "rows": [{"code": "1", "name": "A", "attributes": {"water": "\x00"}}],
    },
    "a code twice": {"table": "venues", "rows": [*ROWS, {"code": 1, "name": "Nochmal"}]},
}


@pytest.mark.parametrize("body", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_table_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match=r"^reference of .*expected .*, got "):
        clean(raw("reference", body, event_key=KEY))


def test_attributes_of_another_shape_are_refused() -> None:
    body = {"table": "venues", "rows": [{"code": "1", "name": "Testhafen", "attributes": {"water": ["salt"]}}]}

    with pytest.raises(InvalidEvent, match=r"rows\.0\.attributes\.water"):
        clean(raw("reference", body, event_key=KEY))


def test_the_simulator_has_the_same_format() -> None:
    fact = clean(raw("programs", card(), source="simulator", event_key=f"simulator:{DAY}:07:04"))

    assert isinstance(fact, Listed)
    assert fact.session.session_key == f"simulator:{DAY}:07"


def test_a_source_may_carry_a_suffix() -> None:
    fact = clean(raw("programs", card(), source="boatrace-mirror", event_key=f"boatrace-mirror:{DAY}:07:04"))

    assert fact.source == "boatrace-mirror"  # type: ignore[union-attr]  # a card is never filtered


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="expected a source that begins with boatrace or simulator, got 'horserace'"):
        clean(raw("programs", card(), source="horserace"))


def test_an_unknown_feed_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="expected a feed among programs, previews, results, reference, got 'odds'"):
        clean(raw("odds", card()))
