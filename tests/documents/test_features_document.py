"""docs/features.md describes every feature that the models read."""

from __future__ import annotations

from pathlib import Path

from services.cleaner import boatrace
from services.predictor.data.profile import BOATRACE
from services.predictor.features.encoding import Encoding
from services.predictor.features.names import Group
from services.predictor.features.past import RELATION_NAMES
from services.predictor.features.relative import RELATIVES
from services.predictor.features.tokens import TOKEN_NAMES
from shared.events import Conditions
from tests.documents import feature_table as table
from tests.documents import feature_words as words
from tests.documents.boatrace_words import BOATRACE_WORDS
from tests.shared.generated import compare

NAMES = table.described_names(BOATRACE_WORDS, BOATRACE)
ENTRY, EVENT = table.entry_rows(NAMES, BOATRACE_WORDS), table.event_rows(NAMES, BOATRACE_WORDS)
CODES, STARTS = table.code_rows(NAMES, BOATRACE_WORDS), table.start_rows()


RELATIVES_INTRO = "Each value of an entry has four relative values, in the same group:"
STARTS_INTRO = """The attention reads the last 16 starts of each entity, each as these numbers. Unknown is 0 here,
because the numbers are centred."""
IDENTITIES = """Besides the numbers, models read the venue and the observed lane of each entry as indices (0: unseen in
training, not observed), which slots are occupied and which past starts exist."""


def document() -> str:
    relatives = "\n".join(f"* `<value>_{name}`: {meaning};" for name, meaning in words.RELATIVES.items())
    flags = f"and `<value>_unknown`, for values of entries and events: {words.UNKNOWN}."
    sections = {
        "Values of an entry": [table.markdown(ENTRY)],
        "Values of an event": [table.markdown(EVENT)],
        "Relatives and flags": [RELATIVES_INTRO, relatives, flags],
        "Columns of ones and zeros": [table.markdown(CODES)],
        "Past starts": [STARTS_INTRO, table.markdown(STARTS)],
        "Identities": [IDENTITIES],
    }
    return "\n\n".join("\n\n".join([f"## {title}", *parts]) for title, parts in sections.items())


def test_the_document_has_every_feature(repository: Path) -> None:
    compare(repository / "docs" / "features.md", "features", document())


def documented_groups() -> dict[str, Group]:
    """Every feature in the tables."""
    values = {row.name: row.group for row in (*ENTRY, *EVENT)}
    classes = {name: tuple(levels) for name, levels in NAMES.categories.items()}
    codes = {name: tuple(f"{value:g}" for value in levels) for name, levels in NAMES.codes.items()}
    slots = tuple(str(slot) for slot in range(1, BOATRACE.slots + 1))
    levels = {"slot": slots, "course": slots, **classes, **codes}
    return {
        **values,
        **{f"{row.name}_{relative}": row.group for row in ENTRY for relative in words.RELATIVES},
        **{f"{name}_unknown": group for name, group in values.items()},
        **{
            f"{row.name}{value}": row.group
            for row in CODES
            for value in (levels[row.name[:-1]] if row.name.endswith("=") else ("",))
        },
    }


def test_every_feature_has_a_description() -> None:
    """The encoding has every value of the source, and a flag for each."""
    entry, event = len(NAMES.entry_values), len(NAMES.event_values)
    everything = Encoding(
        names=NAMES,
        entry_mean=(0.0,) * entry,
        entry_deviation=(1.0,) * entry,
        relative_deviation=(1.0,) * entry * len(RELATIVES),
        event_mean=(0.0,) * event,
        event_deviation=(1.0,) * event,
        entry_flags=tuple(range(entry)),
        event_flags=tuple(range(event)),
    )

    assert documented_groups() == everything.groups


def test_the_source_is_described_as_the_cleaner_reads_it() -> None:
    def names(*fields: object) -> set[str]:
        return {each.name for each in fields}  # type: ignore[attr-defined]

    assert set(BOATRACE_WORDS.measures) == names(*boatrace.CARD_MEASURES)
    assert set(BOATRACE_WORDS.observed) == names(*boatrace.PREVIEW_MEASURES)
    assert set(BOATRACE_WORDS.conditions) | BOATRACE.condition_codes == set(Conditions.model_fields)
    assert set(BOATRACE_WORDS.codes) == {"grade", *BOATRACE.condition_codes}
    assert set(BOATRACE_WORDS.classes) == names(*boatrace.ENTRY_CODES) - BOATRACE.identities


def test_every_number_of_a_past_start_is_described() -> None:
    assert [row.name for row in STARTS] == [*TOKEN_NAMES, *RELATION_NAMES]
    assert list(words.RELATIVES) == list(RELATIVES)


def test_every_description_is_used() -> None:
    names = {row.name for row in ENTRY}

    assert set(words.RATING_VALUES) <= names
    assert len(names) == len(ENTRY)
    assert set(words.TOKEN_MEANINGS) | set(words.RELATION_MEANINGS) == {*TOKEN_NAMES, *RELATION_NAMES}


def test_every_row_is_complete_and_names_its_group() -> None:
    for row in (*ENTRY, *EVENT, *CODES, *STARTS):
        assert all(row), row
        assert "|" not in "".join(row), row
        assert row.group in row.source, row
