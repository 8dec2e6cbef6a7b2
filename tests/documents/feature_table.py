"""Tables of all features of a source: name, meaning, unit, source, group. docs/features.md is generated from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.predictor.data.profile import Profile
from services.predictor.features.form import ENTITY, ENTITY_LANE, ENTITY_VENUE, EQUIPMENT, LANE, MEETING, RunningMean
from services.predictor.features.names import FeatureNames, Group
from services.predictor.features.past import RELATION_NAMES
from services.predictor.features.tokens import TOKEN_NAMES
from tests.documents import feature_words as words
from tests.documents.feature_words import UNITS, Meaning, Words

HEAD = ("feature", "meaning", "unit", "source", "group")
NO_DECAY = 1e6


class Row(NamedTuple):
    """`source`: the card, the observation, or the history of something."""

    name: str
    meaning: str
    unit: str
    source: str
    group: Group


def described_names(words_of_source: Words, profile: Profile) -> FeatureNames:
    """The names of everything that the source can provide."""
    return FeatureNames(
        profile=profile,
        measures=tuple(sorted(set(words_of_source.measures) - profile.late)),
        observed=tuple(sorted(words_of_source.observed)),
        conditions=tuple(sorted(words_of_source.conditions)),
        categories={name: values for name, (_, values) in words_of_source.classes.items()},
        codes={name: values for name, (_, values) in words_of_source.codes.items()},
        venues=(),
    )


def entry_rows(names: FeatureNames, words_of_source: Words) -> list[Row]:
    """The values of an entry, in the order of FeatureNames.entry_values. Raises KeyError if one has no description."""
    descriptions = {
        **_card_descriptions(words_of_source),
        **_rating_descriptions(),
        **_mean_descriptions(),
        **_observed_descriptions(names, words_of_source),
    }
    groups = zip(names.entry_values, names.entry_groups, strict=True)
    return [Row(name, *descriptions[name], group) for name, group in groups]


def event_rows(names: FeatureNames, words_of_source: Words) -> list[Row]:
    """The values of an event, in the order of FeatureNames.event_values."""
    descriptions = words.EVENT | words_of_source.conditions
    groups = zip(names.event_values, names.event_groups, strict=True)
    late = names.profile.late & set(words.EVENT)
    return [
        Row(name, *descriptions[name], "card, read with the observation" if name in late else group, group)
        for name, group in groups
    ]


def code_rows(names: FeatureNames, words_of_source: Words) -> list[Row]:
    """Columns that are 1 or 0. A name with "=" stands for one column per value."""
    slots = f"1 to {names.profile.slots}"
    rows = [
        Row("slot=", f"is in this slot ({slots})", "0 or 1", "card", "card"),
        Row("course=", f"was observed in this lane ({slots})", "0 or 1", "observation", "observation"),
    ]
    for name, values in names.categories.items():
        rows.append(Row(f"{name}=", f"{words_of_source.classes[name][0]} ({_span(values)})", "0 or 1", "card", "card"))
    for name, codes in names.codes.items():
        group: Group = "card" if name == "grade" else "observation"
        rows.append(Row(f"{name}=", f"{words_of_source.codes[name][0]} ({_span(codes)})", "0 or 1", group, group))
    return [*rows, Row("is_observed", "the event was observed", "0 or 1", "observation", "observation")]


def start_rows() -> list[Row]:
    """The values of a past start, as the attention reads it."""
    return [
        *(Row(name, *words.TOKEN_MEANINGS[name], "history of the entity", "history") for name in TOKEN_NAMES),
        *(Row(name, *words.RELATION_MEANINGS[name], "history and card", "history") for name in RELATION_NAMES),
    ]


def markdown(rows: Iterable[Row]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *((f"`{row.name}`", *row[1:]) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _card_descriptions(words_of_source: Words) -> dict[str, tuple[str, str, str]]:
    return {name: (*meaning, "card") for name, meaning in words_of_source.measures.items()}


def _rating_descriptions() -> dict[str, tuple[str, str, str]]:
    sources = {
        "equipment_rating": "history of the equipment",
        "equipment_starts": "history of the equipment",
        "lane_rating": "history of the lane",
        "lane_offset": "history of the entity in this lane",
        "venue_offset": "history of the entity at this venue",
        "strength": "history and card",
        "log_chance": "history and card",
    }
    return {
        name: (*meaning, sources.get(name, "history of the entity")) for name, meaning in words.RATING_VALUES.items()
    }


def _mean_descriptions() -> dict[str, tuple[str, str, str]]:
    owners = (
        (ENTITY, "the entity", ""),
        (ENTITY_LANE, "the entity in this lane", ""),
        (ENTITY_VENUE, "the entity at this venue", ""),
        (MEETING, "the entity in this meeting", ""),
        (EQUIPMENT, "the equipment", ""),
        (LANE, "the lane here and everywhere", "lane_"),
    )
    return {
        f"{prefix}{mean.name}": (_describe_mean(mean), UNITS[mean.quantity], f"history of {owner}")
        for means, owner, prefix in owners
        for mean in means
    }


def _describe_mean(mean: RunningMean) -> str:
    decay = "" if mean.half_life > NO_DECAY else f"half-life {mean.half_life:g}"
    shrunk = f"{mean.shrink:g} zeros added" if mean.shrink else ""
    notes = ", ".join(each for each in (decay, shrunk) if each)
    return f"{mean.meaning} ({notes})" if notes else mean.meaning


def _observed_descriptions(names: FeatureNames, words_of_source: Words) -> dict[str, tuple[str, str, str]]:
    pace, timing = names.profile.pace, names.profile.timing
    descriptions = {f"observed_{name}": (*meaning, "observation") for name, meaning in words_of_source.observed.items()}
    descriptions |= {
        "observed_course": (*words.OBSERVED_COURSE, "observation"),
        "observed_course_gain": (*words.OBSERVED_GAIN, "observation and card"),
    }
    for name, relative in ((pace, words.PACE_OVER_OWN), (timing, words.TIMING_OVER_OWN)):
        if name in words_of_source.observed:
            meaning = Meaning(f"{words_of_source.observed[name].meaning}, {relative.meaning}", relative.unit)
            descriptions[f"{name}_over_own"] = (*meaning, "observation and history of the entity")
    return descriptions


def _span(values: tuple[float, ...] | tuple[str, ...]) -> str:
    texts = [value if isinstance(value, str) else f"{value:g}" for value in values]
    return f"{texts[0]} to {texts[-1]}"
