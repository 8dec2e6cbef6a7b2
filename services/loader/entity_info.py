"""What the cards say of an entity, in the order in which they were known.

The newest card that says something else decides; what it does not know stays. The instant kept is since when all of
this is known, so a card that only repeats it moves nothing: thousands of them do, and loaders side by side would
wait for each other in every entity. (What is given up: of A, B, A seen as A, A, B by two loaders, B stays.)
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from shared.events import EntityInfo


class Sighting(NamedTuple):
    known_at: datetime
    source: str
    info: EntityInfo


def met_again(before: Sighting, sighting: Sighting) -> Sighting:
    """What both say together. services/loader/postgres_merge.py does the same to rows."""
    older, newer = (before, sighting) if sighting.known_at >= before.known_at else (sighting, before)
    info = EntityInfo(
        entity_key=newer.info.entity_key,
        name=newer.info.name or older.info.name,
        categories=older.info.categories | newer.info.categories,
    )
    if (info.name, info.categories) == (older.info.name, older.info.categories):
        return older
    return newer._replace(info=info)
