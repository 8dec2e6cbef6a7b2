"""Answers keep within Discord's limits, whatever their texts are, and never mention anybody."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.bot.answers import (
    MAX_CHOICES,
    MAX_DESCRIPTION,
    MAX_EMBED_CHARS,
    Answer,
    Button,
    Embed,
    EmbedField,
    choices_of,
    cut,
    cut_lines,
    payload_of,
)

TEXT = st.text(max_size=40) | st.integers(0, 7_000).map(lambda length: "a𝒳" * (length // 2))
FIELDS = st.lists(st.builds(EmbedField, TEXT, TEXT), max_size=30).map(tuple)
EMBEDS = st.lists(st.builds(Embed, TEXT, TEXT, FIELDS, footer=TEXT), max_size=12).map(tuple)
BUTTONS = st.lists(st.builds(Button, TEXT, st.just("hr:x:1")), max_size=40).map(tuple)


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(embeds=EMBEDS, buttons=BUTTONS)
def test_a_payload_keeps_all_limits(embeds: tuple[Embed, ...], buttons: tuple[Button, ...]) -> None:
    payload = payload_of(Answer(embeds, buttons))
    assert payload["allowed_mentions"] == {"parse": []}
    assert len(payload["embeds"]) <= 10
    assert sum(_length(embed) for embed in payload["embeds"]) <= MAX_EMBED_CHARS
    for embed in payload["embeds"]:
        assert units(embed.get("title", "")) <= 256
        assert units(embed.get("description", "")) <= MAX_DESCRIPTION
        assert len(embed.get("fields", ())) <= 25
        assert all(
            0 < units(each["name"]) <= 256 and 0 < units(each["value"]) <= 1024 for each in embed.get("fields", ())
        )
    rows = payload["components"]
    assert len(rows) <= 5
    assert all(len(row["components"]) <= 5 for row in rows)
    assert all(units(each["label"]) <= 80 for row in rows for each in row["components"])


def test_a_short_answer_is_not_changed() -> None:
    payload = payload_of(Answer((Embed("Title", "Text", (EmbedField("a", "b"),), "good", "Footer"),)))
    assert payload["embeds"] == [
        {
            "type": "rich", "color": 0x009E73, "title": "Title", "description": "Text",
            "fields": [{"name": "a", "value": "b", "inline": True}], "footer": {"text": "Footer"},
        }
    ]  # fmt: skip


def test_a_cut_text_ends_with_an_ellipsis_and_with_whole_characters() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("a𝒳𝒳", 4) == "a𝒳…"
    assert cut(r"ab\*c", 4) == "ab…"  # no lone backslash, which would escape the ellipsis


def test_lines_are_left_out_as_a_whole_and_counted() -> None:
    assert cut_lines(["one", "two", "three three", "four"], 20) == "one\ntwo\n… and 2 more"
    assert cut_lines(["one", "two"], 20) == "one\ntwo"


def test_a_choice_that_is_too_long_to_be_sent_back_is_left_out() -> None:
    choices = choices_of([("label" * 50, "value"), ("x", "v" * 101), *((str(n), str(n)) for n in range(40))])
    assert len(choices) == MAX_CHOICES
    assert choices[0]["value"] == "value"
    assert units(choices[0]["name"]) == 100
    assert all(len(each["value"]) <= 100 for each in choices)


def _length(embed: dict[str, Any]) -> int:
    fields = sum(units(each["name"]) + units(each["value"]) for each in embed.get("fields", ()))
    footer = units(embed.get("footer", {}).get("text", ""))
    return units(embed.get("title", "")) + units(embed.get("description", "")) + footer + fields
