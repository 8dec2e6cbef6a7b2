"""The escaping of untrusted names, and texts without markdown."""

from __future__ import annotations

import pytest

from services.notifier.texts.message import MAX_LENGTH, ZERO_WIDTH_SPACE, escape, plain_text, truncate


@pytest.mark.parametrize("name", ["https://bad.example", "www.bad.example", "discord.gg/bad"])
def test_addresses_in_names_are_no_links(name: str) -> None:
    assert name not in escape(name)
    assert ZERO_WIDTH_SPACE in escape(name)


def test_markdown_in_names_is_shown_as_it_is() -> None:
    assert escape("**a** [b](c) `d` ||e||") == r"\*\*a\*\* \[b\]\(c\) \`d\` \|\|e\|\|"


def test_a_name_cannot_move_a_terminal_or_start_a_line() -> None:
    assert escape("a\x1b[31m\nb\u202ec\r\x07") == r"a \[31m b c"


def test_a_name_is_bounded() -> None:
    assert len(escape("x" * 5_000)) == 80


def test_plain_text_is_one_line_without_markdown() -> None:
    text = f"**Surprise** · Weir\n2 {escape('A*B @here')} won"

    assert plain_text(text) == "Surprise · Weir · 2 A*B @here won"


def test_a_long_text_is_truncated_by_whole_lines() -> None:
    text = truncate("\n".join(["a" * 700] * 4))

    assert text == "\n".join(["a" * 700] * 2)


def test_a_long_line_is_truncated_as_discord_counts_characters() -> None:
    text = truncate("𝔸" * 3_000)

    assert len(text.encode("utf-16-le")) // 2 <= MAX_LENGTH
    assert text.endswith("𝔸…")
