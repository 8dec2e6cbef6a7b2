"""Reads the shipped thresholds, and a file that changes them."""

from __future__ import annotations

from pathlib import Path

from headrace.quality.thresholds import Thresholds, parse_thresholds
from shared.errors import ConfigError

DEFAULT_FILE = Path(__file__).parent / "default.yaml"


def read_thresholds(file: Path | None = None) -> Thresholds:
    """The shipped thresholds, changed by a file. Raises ConfigError with the file and line of each problem."""
    shipped = parse_thresholds(DEFAULT_FILE.read_bytes(), DEFAULT_FILE.name)
    if file is None:
        return shipped
    try:
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{file}: cannot read the thresholds: {reason}; correct --thresholds") from error
    return parse_thresholds(content, str(file), shipped)
