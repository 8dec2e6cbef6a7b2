"""Generates fictitious racer names in kana: family name, one ASCII space, given name."""

from __future__ import annotations

FAMILY_HEADS = ("いず", "かわ", "みず", "せき", "たき", "ふち", "すな", "あお", "しら", "くろ", "なみ", "ほし")
FAMILY_TAILS = ("ぐるま", "のせ", "がたき", "わたり", "ばね", "のひ", "ぶち", "かげ", "づつみ", "ごえ", "のと", "ざき")
GIVEN_HEADS = ("あさ", "いち", "うた", "かな", "けい", "しん", "そら", "てつ", "はる", "まさ", "ゆい", "れん")
GIVEN_TAILS = ("き", "の", "ま", "ほ", "や", "と", "み", "ね", "すけ", "たろう", "え", "じ")

FAMILIES = tuple(head + tail for head in FAMILY_HEADS for tail in FAMILY_TAILS)
GIVEN = tuple(head + tail for head in GIVEN_HEADS for tail in GIVEN_TAILS)
# Coprime to 144, so that racers with neighbouring numbers have different given names.
STRIDE = 37


def name_of(index: int) -> str:
    """The name of the racer at this index of the roster; unique for the first 20,736."""
    family = index % len(FAMILIES)
    given = (index // len(FAMILIES) + STRIDE * index) % len(GIVEN)
    return f"{FAMILIES[family]} {GIVEN[given]}"
