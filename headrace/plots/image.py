"""Encodes figures as files. The same figure gives the same bytes: without dates, names of programs or random ids."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure

ImageFormat = Literal["png", "svg"]
_METADATA: dict[ImageFormat, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def image_of(figure: Figure, image_format: ImageFormat) -> bytes:
    with mpl.rc_context({"svg.hashsalt": "headrace"}):  # instead of random ids
        content = BytesIO()
        figure.savefig(content, format=image_format, metadata=_METADATA[image_format], bbox_inches="tight",
                       pad_inches=0.12)  # fmt: skip
    return content.getvalue()
