"""The texts of notifications, and the escaping of untrusted names in them."""

from __future__ import annotations

import pytest

from services.notifier.findings.finding import (
    BigPayout,
    CalledOff,
    Daily,
    Digest,
    Finding,
    GradeResult,
    Payout,
    Surprise,
    Tip,
)
from services.notifier.texts.message import MAX_LENGTH, ZERO_WIDTH_SPACE, escape, plain_text, render, truncate
from tests.services.notifier.samples import DAY, SOURCE, event, session

DIGEST = Digest(
    SOURCE, DAY, {"settled": 23, "cancelled": 1}, (("Weir 4", Payout("2-1-3", 123_450)),), 20, 1.25, 1.5, 4_000
)


@pytest.mark.parametrize(
    ("finding", "parts"),
    [
        (Tip(event(), 2, 0.8, "m1", "card"), ["Weir 2026-05-02, event 1, start 2026-05-02 11:00", "2 Ben", "80.0%"]),
        (BigPayout(event(), "trifecta", Payout("2-1-3", 123_450)), ["trifecta 2-1-3 paid 123,450 per 100", "1. 2 Ben"]),
        (GradeResult(event(session=session(grade=1, title="Cup"))), ["Cup (grade 1)", "1. 2 Ben, 2. 1 Ada, 3. 3 Cy"]),
        (Surprise(event(), 2, 0.031), ["2 Ben won", "3.1%"]),
        (CalledOff(session(events=12, called_off_numbers=(11, 12))), ["2 of 12 events will not take place: 11, 12"]),
        (
            Daily(DIGEST),
            ["24 events: 1 cancelled, 23 settled", "Weir 4: 2-1-3 paid 123,450", "1.2500", "1.5000", "4,000"],
        ),
    ],
)
def test_the_text_of_each_finding_has_its_facts(finding: Finding, parts: list[str]) -> None:
    text = plain_text(render(finding))

    assert [part for part in parts if part not in text] == []


def test_a_tip_promises_no_return() -> None:
    assert "no return is promised" in render(Tip(event(), 2, 0.8, "m1", "card"))


def test_a_summary_without_scores_does_not_mention_the_model() -> None:
    assert "log loss" not in render(Daily(Digest(SOURCE, DAY, {"cancelled": 12})))


@pytest.mark.parametrize("name", ["@everyone", "@here", "<@123456>", "<@&1>", "<#99>", "a@everyone"])
def test_mentions_in_names_have_no_effect(name: str) -> None:
    text = escape(name)

    assert "@everyone" not in text
    assert "@here" not in text
    assert "<@" not in text.replace(r"\<", "")
    assert f"@{ZERO_WIDTH_SPACE}" in text or r"\<\#" in text


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


def test_names_in_a_text_are_escaped() -> None:
    text = render(Surprise(event(names={2: "@everyone **x**"}), 2, 0.01))

    assert "@everyone" not in text
    assert "**x**" not in text


def test_plain_text_is_one_line_without_markdown() -> None:
    text = render(Surprise(event(names={2: "A*B @here"}), 2, 0.01))

    assert plain_text(text).startswith(
        "Surprise · Weir 2026-05-02, event 1, start 2026-05-02 11:00 UTC · 2 A*B @here won"
    )
    assert "\n" not in plain_text(text)


def test_a_long_text_is_truncated_by_whole_lines() -> None:
    text = truncate("\n".join(["a" * 700] * 4))

    assert text == "\n".join(["a" * 700] * 2)


def test_a_long_line_is_truncated_as_discord_counts_characters() -> None:
    text = truncate("𝔸" * 3_000)

    assert len(text.encode("utf-16-le")) // 2 <= MAX_LENGTH
    assert text.endswith("𝔸…")
