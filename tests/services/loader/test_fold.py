"""What holds after several versions of a fact: whatever their order, never less, and each difference noted."""

from __future__ import annotations

from datetime import timedelta, timezone
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loader.fact_tree import FactEvent, fact_of, leaves, tree_of
from services.loader.fold import FactVersion, FieldChange, FoldedFact, changed_fields, fold, supersede
from shared.events import Conditions, Listed, Outcome, Settled, Transaction
from tests.services.loader.facts import PAID, at, entry, listed, observed, outcomes, paid, settled


def version(fact: FactEvent, number: int, revision: str = "0") -> FactVersion:
    """Known `number` minutes after the start."""
    return FactVersion(at(number), revision, UUID(int=number), fact)


def of(*facts: FactEvent) -> FoldedFact:
    return fold(version(fact, number) for number, fact in enumerate(facts))


def changes(folded: FoldedFact, kind: str = "corrected") -> set[FieldChange]:
    return {note.change for note in getattr(folded, kind)}


small = st.integers(1, 3)
conditions = st.builds(Conditions, weather=st.none() | small, wind_m_s=st.none() | st.sampled_from([1.0, 2.0]))


@st.composite
def outcome(draw: st.DrawFn, slot: int) -> Outcome:
    fate = draw(st.sampled_from([{}, {"place": 1}, {"place": 2}, {"code": 9}, {"code": 14, "refunded": True}]))
    who = draw(st.sampled_from([None, f"river:10{slot}", f"river:20{slot}"]))
    return Outcome(slot=slot, entity_key=who, start_timing_s=draw(st.sampled_from([None, 0.1, 0.2])), **fate)


@st.composite
def market(draw: st.DrawFn, name: str) -> list[Transaction]:
    rows = draw(st.dictionaries(st.sampled_from("123"), st.sampled_from([100, 200]), max_size=2))
    return list(paid(**{name: rows}))


@st.composite
def a_settled(draw: st.DrawFn) -> Settled:
    status = draw(st.sampled_from(["provisional", "settled", "void", "cancelled"]))
    missing = draw(st.sampled_from([(), ("place",), ("win",)])) if status == "settled" else ()
    return settled(
        status=status,
        technique=draw(st.none() | small),
        conditions=draw(conditions),
        outcomes=tuple(draw(outcome(slot)) for slot in draw(st.sets(small))),
        transactions=tuple(draw(market("win")) + draw(market("place"))),
        missing_markets=missing,
    )


@st.composite
def a_listed(draw: st.DrawFn) -> Any:
    def an_entry(slot: int) -> Any:
        if draw(st.booleans()):
            return {"slot": slot}
        measures = draw(st.dictionaries(st.sampled_from(["weight_kg", "status"]), st.sampled_from([None, 1.0, 2.0])))
        return entry(slot, draw(st.sampled_from([100 + slot, 200 + slot])), measures=measures)

    return listed(
        title=draw(st.sampled_from([None, "a", "b"])),
        scheduled_at=draw(st.sampled_from([None, at(0), at(5)])),
        entries=tuple(an_entry(slot) for slot in draw(st.sets(small))),
    )


facts = st.lists(a_settled(), min_size=1, max_size=5) | st.lists(a_listed(), min_size=1, max_size=5)


@given(facts, st.randoms(use_true_random=False))
def test_any_order_of_the_same_versions_gives_the_same(facts: list[FactEvent], random: Any) -> None:
    versions = [version(fact, number) for number, fact in enumerate(facts)]
    shuffled = list(versions)
    random.shuffle(shuffled)
    assert fold(shuffled) == fold(versions)


@given(facts)
def test_saying_the_same_again_adds_nothing(facts: list[FactEvent]) -> None:
    once = of(*facts)
    again = of(*facts, facts[-1])
    assert changed_fields(once.fact, again.fact) is None
    assert again.changed_at == once.changed_at
    assert changes(again) == changes(once)


@given(facts)
def test_a_value_once_known_stays_or_is_replaced_by_a_noted_one(facts: list[FactEvent]) -> None:
    """Absence never erases: what was known and is known no more was taken away by another value beside it."""
    before = of(*facts[:-1]) if len(facts) > 1 else of(*facts)
    after = of(*facts)
    old, new = dict(leaves(tree_of(before.fact))), dict(leaves(tree_of(after.fact)))
    noted = {note.change.field for note in after.corrections if note.record_id == UUID(int=len(facts) - 1)}
    derived = {"missing_markets", "card_key"}
    for name, value in old.items():
        if name not in new:
            assert name in noted | derived
        elif new[name] != value and name not in derived and "transactions" not in name:
            assert name in noted or (name, value) == ("status", "provisional")


@given(facts)
def test_a_fact_is_its_tree_and_back(facts: list[FactEvent]) -> None:
    for fact in facts:
        tree = tree_of(fact)
        assert tree_of(fact_of(fact, tree)) == tree


@given(st.lists(a_settled(), min_size=2, max_size=4), a_settled())
def test_a_second_attempt_at_a_record_leaves_no_trace_of_the_first(facts: list[FactEvent], mended: Settled) -> None:
    versions = [version(fact, number) for number, fact in enumerate(facts)]
    replayed = versions[0]._replace(revision="job-1", fact=mended)
    assert fold(supersede(versions, replayed)) == fold([replayed, *versions[1:]])


def test_a_single_version_is_itself() -> None:
    assert of(settled()) == FoldedFact(settled(), at(0))


def test_unknown_values_are_filled_in_and_are_no_corrections() -> None:
    folded = of(settled(technique=None, status="provisional", transactions=()), settled(technique=2))
    assert isinstance(folded.fact, Settled)
    assert (folded.fact.status, folded.fact.technique, folded.fact.transactions) == ("settled", 2, PAID)
    assert (folded.corrections, folded.regressions) == (frozenset(), frozenset())
    assert folded.changed_at == at(1)


def test_a_difference_is_a_correction_and_an_addition_is_not() -> None:
    folded = of(settled(conditions=Conditions(weather=1)), settled(conditions=Conditions(weather=3, wind_m_s=4.0)))
    assert changes(folded) == {FieldChange("conditions.weather", "1", "3")}


def test_payouts_that_go_and_come_back_are_a_loss_and_nothing_else() -> None:
    folded = of(settled(), settled(transactions=(), missing_markets=("win", "exacta")), settled())
    assert isinstance(folded.fact, Settled)
    assert folded.fact.transactions == PAID
    assert folded.fact.missing_markets == ()
    assert len(changes(folded, "regressed")) == len(PAID)
    assert not folded.corrections
    assert folded.changed_at == at(0)


def test_a_market_with_other_selections_is_replaced_whole() -> None:
    folded = of(
        settled(transactions=paid(place={"1": 110, "2": 190})), settled(transactions=paid(place={"1": 110, "3": 90}))
    )
    assert isinstance(folded.fact, Settled)
    assert folded.fact.transactions == paid(place={"1": 110, "3": 90})
    assert changes(folded) == {FieldChange("transactions.place.2", "190", None)}
    assert not folded.regressions


def test_a_row_that_went_away_stays_and_leaves_the_others_where_they_were() -> None:
    folded = of(settled(transactions=paid(place={"1": 110, "2": 190})), settled(transactions=paid(place={"2": 190})))
    assert isinstance(folded.fact, Settled)
    assert folded.fact.transactions == paid(place={"1": 110, "2": 190})
    assert not folded.corrections
    assert changes(folded, "regressed") == {FieldChange("transactions.place.1", "110", None)}


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
def test_rows_that_stand_are_not_missing(versions: list[tuple[Any, dict[str, int], int]], missing: int) -> None:
    folded = of(
        *(
            settled(status=status, transactions=paid(place=rows), missing_markets=("place",) * count)
            for status, rows, count in versions
        )
    )
    assert isinstance(folded.fact, Settled)
    assert folded.fact.missing_markets == ("place",) * missing


def test_a_racer_that_is_null_for_a_while_is_the_same_one_after() -> None:
    card, empty = listed(), listed(entries=tuple({"slot": slot} for slot in range(1, 5)), card_key=None)
    for facts in permutations((card, empty, card)):
        folded = of(*facts)
        assert changed_fields(folded.fact, card) is None
        assert not folded.corrections


def test_somebody_else_in_a_slot_inherits_nothing() -> None:
    other = entry(1, 150, measures={}, categories={})
    folded = of(listed(entries=(entry(1),)), listed(entries=(other,)))
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
def test_of_place_code_and_refund_the_newer_result_decides(before: Any, after: Any) -> None:
    folded = of(settled(outcomes=before), settled(outcomes=after))
    assert isinstance(folded.fact, Settled)
    assert folded.fact.outcomes == after
    assert [change.field for change in changes(folded)] == ["outcomes.1.result"]


def test_a_status_goes_on_and_never_back() -> None:
    progress = of(settled(status="provisional"), settled(status="cancelled"), settled(status="settled"))
    assert changes(progress) == {FieldChange("status", "cancelled", "settled")}
    back = of(settled(), settled(status="provisional"), settled(status="cancelled"))
    assert isinstance(back.fact, Settled)
    assert back.fact.status == "settled"
    assert changes(back, "regressed") == {
        FieldChange("status", "settled", "provisional"),
        FieldChange("status", "settled", "cancelled"),
    }


def test_the_last_that_changed_something_says_since_when() -> None:
    assert of(observed(), observed(conditions=Conditions(weather=2)), observed()).changed_at == at(2)
    assert of(observed(), observed(conditions=Conditions())).changed_at == at(0)


def test_null_in_a_mapping_is_no_value() -> None:
    folded = of(listed(entries=(entry(1),)), listed(entries=(entry(1, measures={"weight_kg": None}),)))
    assert isinstance(folded.fact, Listed)
    assert folded.fact.entries == (entry(1),)


def test_of_two_known_at_the_same_instant_the_later_revision_decides() -> None:
    live, replayed = version(settled(technique=1), 5), version(settled(technique=2), 5, "job-1")
    for versions in permutations((live, replayed._replace(record_id=UUID(int=6)))):
        folded = fold(versions)
        assert isinstance(folded.fact, Settled)
        assert folded.fact.technique == 2


def test_equal_instants_in_different_zones_are_equal() -> None:
    there = listed(scheduled_at=at(0).astimezone(timezone(timedelta(hours=9))))
    assert not of(listed(), there).corrections
