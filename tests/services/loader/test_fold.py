"""Folding the versions of a fact: any order gives the same, no value is lost, every difference is recorded."""

from __future__ import annotations

from datetime import timedelta, timezone
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loader.apply import accept
from services.loader.fact_tree import FactEvent, fact_of, leaves, tree_of
from services.loader.fold import FactVersion, FieldChange, FoldedFact, changed_fields, fold, supersede
from shared.events import Conditions, Listed, Outcome, Settled, Transaction
from tests.services.loader.facts import PAID, at, entry, listed, observed, outcomes, paid, settled


def version(fact: FactEvent, number: int, revision: str = "0") -> FactVersion:
    """A version that is known `number` minutes after the start."""
    return FactVersion(at(number), revision, UUID(int=number), fact)


def fold_of(*facts: FactEvent) -> FoldedFact:
    return fold(version(fact, number) for number, fact in enumerate(facts))


def changes(folded: FoldedFact, kind: str = "corrections") -> set[FieldChange]:
    return {recorded.change for recorded in getattr(folded, kind)}


small = st.integers(1, 3)
conditions = st.builds(Conditions, weather=st.none() | small, wind_m_s=st.none() | st.sampled_from([1.0, 2.0]))


@st.composite
def outcomes_of_slot(draw: st.DrawFn, slot: int) -> Outcome:
    result: Any = draw(st.sampled_from([{}, {"place": 1}, {"place": 2}, {"code": 9}, {"code": 14, "refunded": True}]))
    entity_key = draw(st.sampled_from([None, f"river:10{slot}", f"river:20{slot}"]))
    return Outcome(slot=slot, entity_key=entity_key, start_timing_s=draw(st.sampled_from([None, 0.1, 0.2])), **result)


@st.composite
def payouts_of_market(draw: st.DrawFn, name: str) -> list[Transaction]:
    rows = draw(st.dictionaries(st.sampled_from("123"), st.sampled_from([100, 200]), max_size=2))
    return list(paid(**{name: rows}))


@st.composite
def settled_facts(draw: st.DrawFn) -> Settled:
    status = draw(st.sampled_from(["provisional", "settled", "void", "cancelled"]))
    missing = draw(st.sampled_from([(), ("place",), ("win",)])) if status == "settled" else ()
    return settled(
        status=status,
        technique=draw(st.none() | small),
        conditions=draw(conditions),
        outcomes=tuple(draw(outcomes_of_slot(slot)) for slot in draw(st.sets(small))),
        transactions=tuple(draw(payouts_of_market("win")) + draw(payouts_of_market("place"))),
        missing_markets=missing,
    )


@st.composite
def listed_facts(draw: st.DrawFn) -> Any:
    def draw_entry(slot: int) -> Any:
        if draw(st.booleans()):
            return {"slot": slot}
        measures = draw(st.dictionaries(st.sampled_from(["weight_kg", "status"]), st.sampled_from([None, 1.0, 2.0])))
        return entry(slot, draw(st.sampled_from([100 + slot, 200 + slot])), measures=measures)

    return listed(
        title=draw(st.sampled_from([None, "a", "b"])),
        scheduled_at=draw(st.sampled_from([None, at(0), at(5)])),
        entries=tuple(draw_entry(slot) for slot in draw(st.sets(small))),
    )


facts = st.lists(settled_facts(), min_size=1, max_size=5) | st.lists(listed_facts(), min_size=1, max_size=5)


@given(facts, st.randoms(use_true_random=False))
def test_the_order_of_versions_does_not_matter(facts: list[FactEvent], random: Any) -> None:
    versions = [version(fact, number) for number, fact in enumerate(facts)]
    shuffled = list(versions)
    random.shuffle(shuffled)
    assert fold(shuffled) == fold(versions)


@given(facts)
def test_a_repeated_version_adds_nothing(facts: list[FactEvent]) -> None:
    once = fold_of(*facts)
    again = fold_of(*facts, facts[-1])
    assert changed_fields(once.fact, again.fact) is None
    assert again.changed_at == once.changed_at
    assert changes(again) == changes(once)


@given(facts)
def test_a_known_value_stays_or_is_replaced_by_a_recorded_correction(facts: list[FactEvent]) -> None:
    """A missing value never erases one. A value that is gone was replaced by a correction."""
    before = fold_of(*facts[:-1]) if len(facts) > 1 else fold_of(*facts)
    after = fold_of(*facts)
    old, new = dict(leaves(tree_of(before.fact))), dict(leaves(tree_of(after.fact)))
    corrected_fields = {
        correction.change.field for correction in after.corrections if correction.record_id == UUID(int=len(facts) - 1)
    }
    derived = {"missing_markets", "card_key"}
    for name, value in old.items():
        if name not in new:
            assert name in corrected_fields | derived
        elif new[name] != value and name not in derived and "transactions" not in name:
            assert name in corrected_fields or (name, value) == ("status", "provisional")


@given(facts)
def test_a_fact_survives_the_conversion_to_a_tree_and_back(facts: list[FactEvent]) -> None:
    for fact in facts:
        tree = tree_of(fact)
        assert tree_of(fact_of(fact, tree)) == tree


@given(st.lists(settled_facts(), min_size=2, max_size=4), settled_facts())
def test_a_later_revision_of_a_record_leaves_no_trace_of_the_first(facts: list[FactEvent], changed: Settled) -> None:
    versions = [version(fact, number) for number, fact in enumerate(facts)]
    replayed = versions[0]._replace(revision="job-1", fact=changed)
    assert fold(supersede(versions, replayed)) == fold([replayed, *versions[1:]])


@given(st.permutations([settled(technique=1), settled(technique=2), settled(technique=3)]))
def test_of_two_facts_of_one_record_and_revision_the_content_decides(facts: list[FactEvent]) -> None:
    versions: list[FactVersion] = []
    for fact in facts:
        versions = accept(versions, FactVersion(at(0), "0", UUID(int=1), fact)) or versions
    assert [each.fact for each in versions] == [settled(technique=3)]


def test_of_facts_of_one_time_the_later_one_counts() -> None:
    versions = [version(settled(technique=number), number)._replace(known_at=at(0)) for number in (2, 1)]
    assert fold(versions).fact == settled(technique=1)


def test_a_single_version_folds_to_itself() -> None:
    assert fold_of(settled()) == FoldedFact(settled(), at(0))


def test_an_unknown_value_that_is_filled_in_is_no_correction() -> None:
    folded = fold_of(settled(technique=None, status="provisional", transactions=()), settled(technique=2))
    assert isinstance(folded.fact, Settled)
    assert (folded.fact.status, folded.fact.technique, folded.fact.transactions) == ("settled", 2, PAID)
    assert (folded.corrections, folded.regressions) == (frozenset(), frozenset())
    assert folded.changed_at == at(1)


def test_a_difference_is_a_correction_and_an_addition_is_not() -> None:
    folded = fold_of(settled(conditions=Conditions(weather=1)), settled(conditions=Conditions(weather=3, wind_m_s=4.0)))
    assert changes(folded) == {FieldChange("conditions.weather", "1", "3")}


def test_payouts_that_disappear_and_return_are_a_regression_and_no_correction() -> None:
    folded = fold_of(settled(), settled(transactions=(), missing_markets=("win", "exacta")), settled())
    assert isinstance(folded.fact, Settled)
    assert folded.fact.transactions == PAID
    assert folded.fact.missing_markets == ()
    assert len(changes(folded, "regressions")) == len(PAID)
    assert not folded.corrections
    assert folded.changed_at == at(0)


def test_a_market_with_other_selections_is_replaced_completely() -> None:
    folded = fold_of(
        settled(transactions=paid(place={"1": 110, "2": 190})), settled(transactions=paid(place={"1": 110, "3": 90}))
    )
    assert isinstance(folded.fact, Settled)
    assert folded.fact.transactions == paid(place={"1": 110, "3": 90})
    assert changes(folded) == {FieldChange("transactions.place.2", "190", None)}
    assert not folded.regressions


def test_a_missing_payout_row_is_kept_and_the_other_rows_keep_their_ordinals() -> None:
    folded = fold_of(
        settled(transactions=paid(place={"1": 110, "2": 190})), settled(transactions=paid(place={"2": 190}))
    )
    assert isinstance(folded.fact, Settled)
    assert folded.fact.transactions == paid(place={"1": 110, "2": 190})
    assert not folded.corrections
    assert changes(folded, "regressions") == {FieldChange("transactions.place.1", "110", None)}


@pytest.mark.parametrize(
    ("versions", "missing"),
    [
        ([("settled", {"1": 110, "2": 190}, 0), ("settled", {"1": 110}, 1)], 0),
        ([("settled", {"1": 110}, 1), ("provisional", {}, 0)], 1),
        ([("settled", {"1": 110}, 1), ("provisional", {"1": 110, "2": 190}, 0)], 0),
        ([("settled", {}, 2), ("settled", {"1": 110}, 1)], 1),
        ([("settled", {}, 2), ("settled", {"1": 110, "2": 190}, 0)], 0),
    ],
)
def test_payout_rows_that_are_kept_are_not_missing(
    versions: list[tuple[Any, dict[str, int], int]], missing: int
) -> None:
    folded = fold_of(
        *(
            settled(status=status, transactions=paid(place=rows), missing_markets=("place",) * count)
            for status, rows, count in versions
        )
    )
    assert isinstance(folded.fact, Settled)
    assert folded.fact.missing_markets == ("place",) * missing


def test_an_entity_that_is_null_in_one_version_is_kept() -> None:
    card, empty = listed(), listed(entries=tuple({"slot": slot} for slot in range(1, 5)), card_key=None)
    for facts in permutations((card, empty, card)):
        folded = fold_of(*facts)
        assert changed_fields(folded.fact, card) is None
        assert not folded.corrections


def test_another_entity_in_a_slot_inherits_nothing() -> None:
    other = entry(1, 150, measures={}, categories={})
    folded = fold_of(listed(entries=(entry(1),)), listed(entries=(other,)))
    assert isinstance(folded.fact, Listed)
    assert folded.fact.entries == (other,)
    assert FieldChange("entries.1.entity.entity_key", "river:101", "river:150") in changes(folded)
    assert not folded.regressions


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (outcomes(None, codes={1: 14}), outcomes(2)),
        (outcomes(2), outcomes(None, codes={1: 14})),
        (outcomes(None, codes={1: 14}), outcomes(None, codes={1: 9})),
        (outcomes(None, codes={1: 9}), outcomes(None, codes={1: 16})),
    ],
)
def test_the_newer_result_replaces_place_code_and_refund(before: Any, after: Any) -> None:
    folded = fold_of(settled(outcomes=before), settled(outcomes=after))
    assert isinstance(folded.fact, Settled)
    assert folded.fact.outcomes == after
    assert [change.field for change in changes(folded)] == ["outcomes.1.result"]


def test_a_status_never_goes_back() -> None:
    progress = fold_of(settled(status="provisional"), settled(status="cancelled"), settled(status="settled"))
    assert changes(progress) == {FieldChange("status", "cancelled", "settled")}
    back = fold_of(settled(), settled(status="provisional"), settled(status="cancelled"))
    assert isinstance(back.fact, Settled)
    assert back.fact.status == "settled"
    assert changes(back, "regressions") == {
        FieldChange("status", "settled", "provisional"),
        FieldChange("status", "settled", "cancelled"),
    }


def test_changed_at_is_the_time_of_the_last_version_that_changed_a_value() -> None:
    assert fold_of(observed(), observed(conditions=Conditions(weather=2)), observed()).changed_at == at(2)
    assert fold_of(observed(), observed(conditions=Conditions())).changed_at == at(0)


def test_null_in_a_mapping_is_no_value() -> None:
    folded = fold_of(listed(entries=(entry(1),)), listed(entries=(entry(1, measures={"weight_kg": None}),)))
    assert isinstance(folded.fact, Listed)
    assert folded.fact.entries == (entry(1),)


def test_the_later_revision_wins_if_two_versions_are_known_at_the_same_time() -> None:
    live, replayed = version(settled(technique=1), 5), version(settled(technique=2), 5, "job-1")
    for versions in permutations((live, replayed._replace(record_id=UUID(int=6)))):
        folded = fold(versions)
        assert isinstance(folded.fact, Settled)
        assert folded.fact.technique == 2


def test_equal_instants_in_different_zones_are_equal() -> None:
    in_tokyo = listed(scheduled_at=at(0).astimezone(timezone(timedelta(hours=9))))
    assert not fold_of(listed(), in_tokyo).corrections
