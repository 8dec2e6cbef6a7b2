"""The records of `make bench-load` are valid clean events with a known final content; its report shows medians."""

from __future__ import annotations

from bench.load.records import content_of, make_records
from bench.load.report import report_of
from bench.load.site import LoadCost
from shared.broker.contract import Record
from shared.events import Listed
from shared.records import decode

COUNT = 1000


def decoded_cards() -> list[Listed]:
    cards = [
        decode(Record("clean-events", 0, offset, 0, made.key, made.value, made.headers)).message
        for offset, made in enumerate(make_records(COUNT))
    ]
    assert all(isinstance(card, Listed) for card in cards)
    return cards


def test_the_records_are_cards_of_the_expected_size() -> None:
    sizes = [len(record.value) for record in make_records(COUNT)]

    assert len(decoded_cards()) == COUNT
    assert 250 <= sum(sizes) / COUNT <= 300


def test_a_tenth_of_the_records_repeats_a_key_with_another_value_that_was_known_later() -> None:
    by_key: dict[str, list[Listed]] = {}
    for card in decoded_cards():
        by_key.setdefault(card.event_key, []).append(card)
    repeated = [cards for cards in by_key.values() if len(cards) > 1]

    assert (len(by_key), len(repeated)) == (900, 100)
    for first, second in repeated:
        assert first.distance_m != second.distance_m
        assert first.known_at is not None
        assert second.known_at is not None
        assert first.known_at < second.known_at


def test_the_expected_content_is_that_of_the_newest_record_of_each_key() -> None:
    newest = {card.event_key: card.distance_m or 0 for card in decoded_cards()}

    assert content_of(COUNT) == (len(newest), sum(newest.values()))


def test_the_ids_of_all_records_differ() -> None:
    assert len({record.headers["event_id"] for record in make_records(COUNT)}) == COUNT


def test_the_report_has_medians_and_names_what_was_not_measured() -> None:
    costs = {"one": [LoadCost(1000, seconds, 0.02, 0.01) for seconds in (1.0, 2.0, 4.0)]}

    report = report_of(costs, {"other": "mvn not found"}, {"dlt": "dlt 1.31.0"}).splitlines()

    assert report[2] == "| one | 500 | 250, 1,000 | 30.0 | 20.0 | 10.0 |"
    assert report[-2:] == ["* other: not measured: mvn not found", "* dlt: dlt 1.31.0"]
