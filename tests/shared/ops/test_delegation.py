"""The person of a delegate: only one form is accepted, and no name can imitate another entry of the trail."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ops.delegation import JOINER, MAX_NAME_CHARS, PERSON_PATTERN, Person, parse_person, subject_for

USER_IDS = st.integers(1, 2**64 - 1).map(str)
# Pieces of which a hostile name is made, among any other text.
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([
            " on behalf of ", "ON\u3000BEHALF OF", "token:admin", "discord:1 (Ada)", "(", ")", "\uff09", "\u2474", "\n",
            "\r", "\0", "\x1b[2K", "\u202e", "\u200b", "\u2028", "%0A", "\ufdfa", "\U0001f468\u200d\U0001f4bb",
        ]),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    min_size=1,
).map("".join).filter(bool)  # fmt: skip
SUBJECT = re.compile(r"token:bot on behalf of (discord:[1-9][0-9]*) \(([^()]+)\)")


def header(user_id: str, name: str) -> str:
    return f"discord:{user_id} ({quote(name, safe='')})"


@given(USER_IDS, HOSTILE)
def test_whatever_the_name_the_subject_is_one_line_that_names_one_person(user_id: str, name: str) -> None:
    person = parse_person(header(user_id, name))

    assert person is not None
    subject = subject_for("token:bot", person)
    match = SUBJECT.fullmatch(subject)
    assert match is not None
    assert match[1] == f"discord:{user_id}"
    assert 0 < len(match[2]) <= MAX_NAME_CHARS
    assert subject.isprintable()
    assert subject.lower().count(JOINER.strip()) == 1


@given(USER_IDS, st.text("abcxyzABC0189äé日本競艇 -._#!'&", min_size=1, max_size=MAX_NAME_CHARS))
def test_an_ordinary_name_is_kept(user_id: str, name: str) -> None:
    assert parse_person(header(user_id, name)) == Person(f"discord:{user_id}", " ".join(name.split()) or "no name")


@given(st.text() | st.from_regex(PERSON_PATTERN, fullmatch=True) | st.from_regex(PERSON_PATTERN))
def test_only_the_documented_form_is_parsed(text: str) -> None:
    person = parse_person(text)

    is_documented = re.search(PERSON_PATTERN.removesuffix("$") + r"\Z", text) is not None
    assert is_documented or person is None
    assert person is None or text.startswith(f"{person.user} (")


@pytest.mark.parametrize(
    "text",
    [
        "", "discord:1", "discord:1 ()", "discord:1 (a", "discord:1 a", "discord:1  (a)", "discord:1 (a) ",
        "discord:1 (a b)", "discord:1 (%)", "discord:1 (%4)", "discord:1 (%zz)", "discord:1 (%ff)",
        "discord:1 (%ed%a0%80)", "discord:1 (%c0%80)", "discord:0 (a)", "discord:01 (a)", "discord:-1 (a)",
        "discord:x (a)", "discord:١ (a)", f"discord:{'1' * 21} (a)", "Discord:1 (a)", "slack:1 (a)",
        "discord:1 (a), discord:2 (b)", "discord:1 (a)\n", "discord:1 (a\n)", "discord:1 (é)",
        "discord:1 (a) on behalf of discord:2 (b)",
    ],
)  # fmt: skip
def test_any_other_form_is_refused(text: str) -> None:
    assert parse_person(text) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada (admin)", "Ada [admin]"),
        ("Ada （admin）", "Ada [admin]"),
        ("x) on behalf of discord:9 (root", "x] on-behalf-of discord:9 [root"),
        ("a\r\nb\0c\x1b[2Kd", "a b\ufffdc\ufffd[2Kd"),
        ("a\u202eb\u200bc", "a\ufffdb\ufffdc"),
        (" \u3000\t", "no name"),
        ("é" * 500, "é" * MAX_NAME_CHARS),
        ("競艇 花子", "競艇 花子"),
    ],
)
def test_a_name_is_made_printable(name: str, shown: str) -> None:
    assert parse_person(header("7", name)) == Person("discord:7", shown)
