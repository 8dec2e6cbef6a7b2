"""A frame as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from rich.cells import cell_len

from headrace.progress.picture import svg_of
from tests.headrace.progress.frames import FRAME

# Rich's: the width of one cell in the units of the picture.
CELL = 12.2


def texts() -> list[ET.Element]:
    return list(ET.fromstring(svg_of(FRAME, 150, 45, "headrace run")).iter("{http://www.w3.org/2000/svg}text"))


def test_a_picture_is_a_whole_document_with_the_screen_in_it() -> None:
    texts_of_picture = [(each.text or "").replace("\xa0", " ").strip() for each in texts()]

    assert texts_of_picture[0] == "headrace run"
    assert "loaded-events" in texts_of_picture


def test_every_text_is_as_wide_as_its_cells_also_where_characters_take_two() -> None:
    cells = [each for each in texts() if each.get("textLength") and (each.text or "").strip("\n")]

    assert any("たき" in (each.text or "") for each in cells)
    for each in cells:
        assert float(each.get("textLength", "")) == pytest.approx(CELL * cell_len(each.text or "")), each.text
