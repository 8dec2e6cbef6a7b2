"""Files of figures: the same figure gives the same bytes, without dates; no global state is left behind."""

from __future__ import annotations

import re
import subprocess
import sys

import matplotlib as mpl
import pytest

from headrace.plots.image import ImageFormat, image_of
from headrace.plots.rates import rates_by_venue, rates_figure
from tests.headrace.plots.frames import results_of

PROGRAM = """
import sys
from headrace.plots.image import image_of
from headrace.plots.rates import rates_by_venue, rates_figure
from tests.headrace.plots.frames import results_of
sys.stdout.buffer.write(image_of(rates_figure(rates_by_venue(results_of([1, 2, 3]))), {!r}))
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.mark.parametrize(("image_format", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_another_process_makes_the_same_bytes(image_format: ImageFormat, begin: bytes) -> None:
    settings = dict(mpl.rcParams)

    content = image_of(rates_figure(rates_by_venue(results_of([1, 2, 3]))), image_format)

    assert content.startswith(begin)
    assert not re.search(rb"Software|Date|Created|\d{4}-\d{2}-\d{2}T", content)
    program = subprocess.run([sys.executable, "-c", PROGRAM.format(image_format)], check=True, capture_output=True)
    assert program.stdout == content
    assert dict(mpl.rcParams) == settings
