"""Compares the tables that many events share with what all events together say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from headrace.verification.expected_rows import PROFILE_COLUMNS
from headrace.verification.inconsistency import REBUILD, RELOAD, Inconsistency, compare_rows
from headrace.verification.readers.events import Totals
from services.loader.entity_info import ANY_RECORD, DatedEntityInfo, fold_profiles
from services.loader.returns import expand
from shared.database.connection import DbConnection
from shared.events import EntityInfo

_RATES = """
SELECT so.name, r.scope, r.key, r.market, sum(r.bets)::bigint, sum(r.staked)::bigint, sum(r.returned)::bigint
FROM facts.return_rates r LEFT JOIN facts.sources so ON so.id = r.source_id
GROUP BY so.name, r.scope, r.key, r.market HAVING (sum(r.bets), sum(r.staked), sum(r.returned)) <> (0, 0, 0)
"""
_PROFILES = """
SELECT n.entity_key, p.known_at, p.record_id, p.name, p.categories, p.measures,
       EXISTS (SELECT FROM facts.dead_letters d WHERE d.record_id = p.record_id)
FROM facts.profiles p JOIN facts.entities n ON n.id = p.entity_id ORDER BY n.entity_key
"""
_ENTITIES = "SELECT entity_key, name, categories, known_at FROM facts.entities"
_SESSIONS = """
SELECT s.session_key, so.name, s.date, v.code::integer, s.title FROM facts.sessions s
JOIN facts.sources so ON so.id = s.source_id JOIN facts.venues v ON v.id = s.venue_id
"""


def rate_differences(connection: DbConnection, totals: Totals) -> Iterator[Inconsistency]:
    expected = {
        (source, *cell): tuple(sums[:3])
        for source, cells in totals.rates.items()
        for cell, sums in expand(cells).items()
        if any(sums[:3])
    }
    actual = {row[:4]: row[4:] for row in connection.execute(_RATES)}
    yield from compare_rows("facts.return_rates", ("bets", "staked", "returned"), expected, actual, REBUILD)


def entity_differences(connection: DbConnection, totals: Totals) -> Iterator[Inconsistency]:
    """Profiles against the cards, and entities against the profiles.

    An entity with a profile that stands for cards of an earlier version of Headrace is compared with its profiles only.
    """
    stored: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    folds: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    incomplete: set[str] = set()
    for entity_key, rows in groupby(connection.execute(_PROFILES), key=lambda row: row[0]):
        profiles = []
        for _, known_at, record_id, name, categories, measures, is_dead in rows:
            info = EntityInfo(entity_key=entity_key, name=name, categories=categories)
            profiles.append(DatedEntityInfo(known_at, "", info, record_id))
            if record_id == ANY_RECORD:
                incomplete.add(entity_key)
            elif not is_dead or (entity_key, known_at, record_id) in totals.profiles:
                stored[entity_key, known_at, record_id] = (name, categories, measures)
        fold = fold_profiles(profiles)
        folds[entity_key,] = (fold.info.name, fold.info.categories, fold.known_at)
    expected = {key: values for key, values in totals.profiles.items() if key[0] not in incomplete}
    actual = {key: values for key, values in stored.items() if key[0] not in incomplete}
    yield from compare_rows("facts.profiles", PROFILE_COLUMNS, expected, actual, REBUILD)
    entities = {row[:1]: row[1:] for row in connection.execute(_ENTITIES)}
    known = {key: values for key, values in entities.items() if key in folds}
    yield from compare_rows("facts.entities", ("name", "categories", "known_at"), folds, known, REBUILD)


def session_differences(connection: DbConnection, totals: Totals) -> Iterator[Inconsistency]:
    """A session's title is one that a card of its events states: which one depends on the order of arrival."""
    titles: dict[str, str | None] = {}
    actual = {}
    for key, source, day, venue, title in connection.execute(_SESSIONS):
        if key in totals.sessions:
            actual[key,], titles[key] = (source, day, venue), title
    expected = {(key,): values for key, values in totals.sessions.items()}
    yield from compare_rows("facts.sessions", ("source", "date", "venue"), expected, actual, RELOAD)
    stated: dict[str, set[str | None]] = defaultdict(set, totals.titles)
    for key, title in titles.items():
        known: set[str | None] = {each for each in stated[key] if each} or {None}
        if title not in known:
            text = " or ".join(sorted(f"title={each}" for each in known))
            yield Inconsistency("facts.sessions", key, text, f"title={title}", RELOAD)
