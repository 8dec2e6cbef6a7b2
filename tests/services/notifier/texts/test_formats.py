"""Our markdown as Slack's markdown, as a mail, and as a list of runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.texts.mail_body import html_part, plain_part, subject_of
from services.notifier.texts.markdown import Run, runs_of
from services.notifier.texts.message import ZERO_WIDTH_SPACE, escape
from services.notifier.texts.mrkdwn import mrkdwn_of


def test_bold_and_literal_characters_are_told_apart() -> None:
    assert list(runs_of(r"**Tip** · a\*\*b")) == [Run("Tip", True), Run(" · a**b", False)]


@given(st.text())
def test_an_escaped_name_is_one_piece_without_format(name: str) -> None:
    pieces = list(runs_of(escape(name)))

    assert not any(piece.is_bold for piece in pieces)
    assert len(pieces) <= 1


def test_bold_lines_are_bold_in_slack_one_by_one() -> None:
    assert mrkdwn_of("**a\nb** c ** d**") == "*a*\n*b* c  d"


@given(st.text())
def test_no_name_mentions_formats_or_links_in_slack(name: str) -> None:
    shown = mrkdwn_of(f"Tip · {escape(name)}")

    assert not set("<>*_~`[]#|") & set(shown.replace("&lt;", "").replace("&gt;", ""))
    assert all(shown[index + 1 : index + 2] == ZERO_WIDTH_SPACE for index, c in enumerate(shown) if c == "@")
    assert "://" not in shown


@pytest.mark.parametrize("text", ["@here", "@channel x"])
def test_a_template_cannot_mention_people_in_slack_either(text: str) -> None:
    assert mrkdwn_of(text) == text.replace("@", f"@{ZERO_WIDTH_SPACE}")


def test_a_quotation_mark_at_the_beginning_of_a_line_does_not_quote() -> None:
    assert mrkdwn_of("a\n" + escape("> b")) == f"a\n{ZERO_WIDTH_SPACE}&gt; b"


def test_a_mail_has_the_same_words_in_text_and_html() -> None:
    text = r"**Tip** · 1 < 2 \*" + "\nmore"

    assert subject_of(text) == "Tip · 1 < 2 *"
    assert plain_part(text) == "Tip · 1 < 2 *\nmore\n"
    assert "<strong>Tip</strong> · 1 &lt; 2 *<br>\nmore" in html_part(text)


@given(st.text())
def test_a_subject_is_one_short_line(name: str) -> None:
    subject = subject_of(name)

    assert len(subject) <= 150
    assert len(subject.splitlines()) <= 1
