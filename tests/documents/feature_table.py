"""Tables of all features of a source: name, meaning, unit, source, group. docs/features.md is generated from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.predictor.data.profile import Profile
from services.predictor.features.form import ENTITY, ENTITY_LANE, ENTITY_VENUE, EQUIPMENT, LANE, MEETING, Trace
from services.predictor.features.names import Group, Names
from services.predictor.features.past import READ
from services.predictor.features.tokens import TOKEN
from tests.documents import feature_words as words
from tests.documents.feature_words import UNITS, Meaning, Words

HEAD = ("feature", "meaning", "unit", "source", "group")
FOR_EVER = 1e6


class Row(NamedTuple):
    """`source`: the card, the observation, or a history and of what."""

    name: str
    meaning: str
    unit: str
    source: str
    group: Group


def names_in(spoken: Words, profile: Profile) -> Names:
    """The names of everything that the source can provide."""
    return Names(
        profile=profile,
        measures=tuple(sorted(set(spoken.measures) - profile.late)),
        observed=tuple(sorted(spoken.observed)),
        conditions=tuple(sorted(spoken.conditions)),
        categories={name: values for name, (_, values) in spoken.classes.items()},
        codes={name: values for name, (_, values) in spoken.codes.items()},
        venues=(),
    )


def entry_rows(names: Names, spoken: Words) -> list[Row]:
    """The values of an entry, in the order of FeatureNames.entry_values. Raises KeyError if one has no description."""
    said = {**_card(spoken), **_rated(), **_means(), **_observed(names, spoken)}
    groups = zip(names.entry_values, names.entry_groups, strict=True)
    return [Row(name, *said[name], group) for name, group in groups]


def event_rows(names: Names, spoken: Words) -> list[Row]:
    """The values of an event, in the order of FeatureNames.event_values."""
    said = words.EVENT | spoken.conditions
    groups = zip(names.event_values, names.event_groups, strict=True)
    late = names.profile.late & set(words.EVENT)
    return [
        Row(name, *said[name], "card, read with the observation" if name in late else group, group)
        for name, group in groups
    ]


def code_rows(names: Names, spoken: Words) -> list[Row]:
    """Columns that are 1 or 0. A name with "=" stands for one column per value."""
    slots = f"1 to {names.profile.slots}"
    found = [
        Row("slot=", f"is in this slot ({slots})", "0 or 1", "card", "card"),
        Row("course=", f"was observed in this lane ({slots})", "0 or 1", "observation", "observation"),
    ]
    for name, values in names.categories.items():
        found.append(Row(f"{name}=", f"{spoken.classes[name][0]} ({_span(values)})", "0 or 1", "card", "card"))
    for name, codes in names.codes.items():
        group: Group = "card" if name == "grade" else "observation"
        found.append(Row(f"{name}=", f"{spoken.codes[name][0]} ({_span(codes)})", "0 or 1", group, group))
    return [*found, Row("is_observed", "the event was observed", "0 or 1", "observation", "observation")]


def start_rows() -> list[Row]:
    """The values of a past start, as the attention reads it."""
    return [
        *(Row(name, *words.TOKEN[name], "history of the entity", "history") for name in TOKEN),
        *(Row(name, *words.READ[name], "history and card", "history") for name in READ),
    ]


def markdown(rows: Iterable[Row]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *((f"`{row.name}`", *row[1:]) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _card(spoken: Words) -> dict[str, tuple[str, str, str]]:
    return {name: (*said, "card") for name, said in spoken.measures.items()}


def _rated() -> dict[str, tuple[str, str, str]]:
    sources = {
        "equipment_rating": "history of the equipment",
        "equipment_starts": "history of the equipment",
        "lane_rating": "history of the lane",
        "lane_offset": "history of the entity in this lane",
        "venue_offset": "history of the entity at this venue",
        "strength": "history and card",
        "log_chance": "history and card",
    }
    return {name: (*said, sources.get(name, "history of the entity")) for name, said in words.RATED.items()}


def _means() -> dict[str, tuple[str, str, str]]:
    of = (
        (ENTITY, "the entity", ""),
        (ENTITY_LANE, "the entity in this lane", ""),
        (ENTITY_VENUE, "the entity at this venue", ""),
        (MEETING, "the entity in this meeting", ""),
        (EQUIPMENT, "the equipment", ""),
        (LANE, "the lane here and everywhere", "lane_"),
    )
    return {
        f"{prefix}{trace.name}": (_faded(trace), UNITS[trace.of], f"history of {owner}")
        for traces, owner, prefix in of
        for trace in traces
    }


def _faded(trace: Trace) -> str:
    fading = "" if trace.half_life > FOR_EVER else f"half-life {trace.half_life:g}"
    shrunk = f"{trace.shrink:g} zeros added" if trace.shrink else ""
    told = ", ".join(each for each in (fading, shrunk) if each)
    return f"{trace.meaning} ({told})" if told else trace.meaning


def _observed(names: Names, spoken: Words) -> dict[str, tuple[str, str, str]]:
    pace, timing = names.profile.pace, names.profile.timing
    found = {f"observed_{name}": (*said, "observation") for name, said in spoken.observed.items()}
    found |= {
        "observed_course": (*words.OBSERVED_COURSE, "observation"),
        "observed_course_gain": (*words.OBSERVED_GAIN, "observation and card"),
    }
    for name, over in ((pace, words.PACE_OVER_OWN), (timing, words.TIMING_OVER_OWN)):
        if name in spoken.observed:
            said = Meaning(f"{spoken.observed[name].meaning}, {over.meaning}", over.unit)
            found[f"{name}_over_own"] = (*said, "observation and history of the entity")
    return found


def _span(values: tuple[float, ...] | tuple[str, ...]) -> str:
    told = [value if isinstance(value, str) else f"{value:g}" for value in values]
    return f"{told[0]} to {told[-1]}"
