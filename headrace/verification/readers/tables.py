"""Compares the tables that many events share with what all events together say. Rows are read in portions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from headrace.verification.expected_rows import PROFILE_COLUMNS, Rows, profile_rows
from headrace.verification.inconsistency import REBUILD, Inconsistency, compare_rows, described
from headrace.verification.readers.cursors import stream
from headrace.verification.readers.events import events_of_cards
from headrace.verification.totals import RateTotals, Totals
from services.loader.entity_info import ANY_RECORD, DatedEntityInfo, fold_profiles
from services.loader.postgres_sessions import STATED
from shared.database.connection import DbConnection
from shared.events import EntityInfo

ENTITIES_AT_A_TIME = 50
"""Entities whose profiles are compared row by row at once: some thousand rows each after ten years."""
_RATES = """
SELECT so.name, r.scope, r.key, r.market, sum(r.bets)::bigint, sum(r.staked)::bigint, sum(r.returned)::bigint
FROM facts.return_rates r LEFT JOIN facts.sources so ON so.id = r.source_id
GROUP BY so.name, r.scope, r.key, r.market HAVING (sum(r.bets), sum(r.staked), sum(r.returned)) <> (0, 0, 0)
"""
_PROFILES = """
SELECT n.entity_key, n.name, n.categories, n.known_at, p.known_at, p.record_id, p.name, p.categories, p.measures,
       EXISTS (SELECT FROM facts.dead_letters d WHERE d.record_id = p.record_id)
FROM facts.profiles p JOIN facts.entities n ON n.id = p.entity_id
"""
_ALL_PROFILES = f"{_PROFILES} ORDER BY n.entity_key"
_SOME_PROFILES = f"{_PROFILES} WHERE n.entity_key = ANY(%s)"
_TITLES = (
    f"SELECT s.session_key, w.title, w.grade, s.title, s.grade FROM ({STATED} GROUP BY e.session_id) w"
    " JOIN facts.sessions s ON s.id = w.session_id WHERE (s.title, s.grade) IS DISTINCT FROM (w.title, w.grade)"
    " ORDER BY 1"
)


def rate_differences(connection: DbConnection, totals: RateTotals) -> Iterator[Inconsistency]:
    expected = {key: tuple(sums[:3]) for key, sums in totals.rows().items() if any(sums[:3])}
    actual = {row[:4]: row[4:] for row in connection.execute(_RATES)}
    yield from compare_rows("facts.return_rates", ("bets", "staked", "returned"), expected, actual, REBUILD)


def entity_differences(connection: DbConnection, totals: Totals) -> Iterator[Inconsistency]:
    """Profiles against the cards, and entities against the profiles.

    An entity with a profile that stands for cards of an earlier version of Headrace is compared with its profiles only.
    """
    suspects, incomplete = set[str](), set[str]()
    for entity_key, group in groupby(stream(connection, "profiles", _ALL_PROFILES), key=lambda row: row[0]):
        profiles = []
        for _, name, categories, known_at, *profile, is_dead in group:
            stored = (name, categories, known_at)
            profiles.append(_dated(entity_key, profile))
            if profile[1] == ANY_RECORD:
                incomplete.add(entity_key)
            elif is_dead:  # counts only if the record was handled later
                suspects.add(entity_key)
            totals.profiles.add_actual(entity_key, (entity_key, *profile))
        fold = fold_profiles(profiles)
        expected = (fold.info.name, fold.info.categories, fold.known_at)
        yield from compare_rows(
            "facts.entities", ("name", "categories", "known_at"), {(entity_key,): expected}, {(entity_key,): stored},
            REBUILD,
        )  # fmt: skip
    suspects = suspects.union(totals.profiles.differing()) - incomplete
    ordered = sorted(suspects)
    for start in range(0, len(ordered), ENTITIES_AT_A_TIME):
        yield from _profile_differences(connection, ordered[start : start + ENTITIES_AT_A_TIME])


def _profile_differences(connection: DbConnection, entity_keys: Sequence[str]) -> Iterator[Inconsistency]:
    wanted = set(entity_keys)
    expected: Rows = {}
    for event in events_of_cards(connection):
        expected |= {key: values for key, values in profile_rows(event).items() if key[0] in wanted}
    actual: Rows = {}
    for entity_key, _, _, _, known_at, record_id, *values, is_dead in connection.execute(
        _SOME_PROFILES, (list(entity_keys),)
    ):
        key = (entity_key, known_at, record_id)
        if not is_dead or key in expected:
            actual[key] = tuple(values)
    yield from compare_rows("facts.profiles", PROFILE_COLUMNS, expected, actual, REBUILD)


def session_differences(connection: DbConnection) -> Iterator[Inconsistency]:
    """Title and grade of sessions against what their events state."""
    names = ("title", "grade")
    for key, title, grade, stored_title, stored_grade in stream(connection, "titles", _TITLES):
        expected, actual = described(names, (title, grade)), described(names, (stored_title, stored_grade))
        yield Inconsistency("facts.sessions", key, expected, actual, REBUILD)


def _dated(entity_key: str, profile: Sequence[Any]) -> DatedEntityInfo:
    known_at, record_id, name, categories, _ = profile
    info = EntityInfo(entity_key=entity_key, name=name, categories=categories)
    return DatedEntityInfo(known_at, "", info, record_id)
