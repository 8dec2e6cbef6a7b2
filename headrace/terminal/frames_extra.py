"""Checks for the packages of the extra `frames`, which the command's own image does not contain."""

from __future__ import annotations

from importlib.util import find_spec

from shared.errors import ConfigError

FRAMES_PACKAGES = ("adbc_driver_postgresql", "fsspec", "pandas", "pandera", "pyarrow")


def require_frames_extra(action: str) -> None:
    """Raises ConfigError that names the missing packages. `action`: the action that needs them."""
    missing = [name for name in FRAMES_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{action} needs packages that are not installed here: {', '.join(missing)}. Install headrace[frames]"
        )
