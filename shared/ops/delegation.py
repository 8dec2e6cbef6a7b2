"""Parses the person for whom a delegate token acts, and makes the person's name safe for the audit trail.

A delegate is a program that serves several people, such as the bot. It sends `On-Behalf-Of: discord:USERID (NAME)`.
People choose their names freely, so NAME is percent-encoded UTF-8: `urllib.parse.quote(name, safe="")`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from shared.ops.tokens import Scope

# A user id is a positive number without leading zeros, so a person has one id.
_PERSON = re.compile(r"(discord:[1-9][0-9]{0,19}) \(((?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+)\)")
PERSON_PATTERN = f"^{_PERSON.pattern}$"
PERSON_FORM = "discord:USERID (NAME), with NAME as percent-encoded UTF-8"
PERSON_SCOPES: Final[tuple[Scope, ...]] = ("read", "operate")
MAX_NAME_CHARS = 80
JOINER = " on behalf of "
_BRACKETS = str.maketrans("()", "[]")
_PHRASE = re.compile("on behalf of", re.IGNORECASE)
_NO_NAME = "no name"


@dataclass(frozen=True)
class Person:
    """`user` is discord:USERID, which identifies the person; `name` is for readers only, and may change."""

    user: str
    name: str

    def __str__(self) -> str:
        return f"{self.user} ({self.name})"


def parse_person(text: str) -> Person | None:
    """Parses `discord:USERID (NAME)`; None for any other text. The name is made printable and is cut."""
    match = _PERSON.fullmatch(text)
    if match is None:
        return None
    try:
        name = unquote_to_bytes(match[2]).decode()
    except UnicodeDecodeError:
        return None
    return Person(match[1], printable_name(name))


def subject_for(delegate: str, person: Person) -> str:
    """The subject of a request that a delegate makes for a person, for the trail and for operations.

    It has one JOINER and one pair of parentheses, whatever the person's name is.
    """
    return f"{delegate}{JOINER}{person}"


def printable_name(name: str) -> str:
    """One line of at most MAX_NAME_CHARS printable characters that cannot be read as a part of the subject.

    Compatibility forms (full-width letters, parentheses) become the usual ones, characters without a glyph (control,
    bidirectional and zero-width ones) become U+FFFD, parentheses become brackets.
    """
    line = " ".join(unicodedata.normalize("NFKC", name).split())
    visible = "".join(char if char.isprintable() else "\ufffd" for char in line).translate(_BRACKETS)
    return _PHRASE.sub("on-behalf-of", visible)[:MAX_NAME_CHARS].strip() or _NO_NAME
