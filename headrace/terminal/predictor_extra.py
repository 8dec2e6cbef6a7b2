"""The packages that learning takes. The command's own image does without them, so they are asked for when needed."""

from __future__ import annotations

from importlib.util import find_spec

from shared.errors import ConfigError

# As the extra `predictor` of pyproject.toml has them.
PACKAGES = ("lightgbm", "matplotlib", "numpy", "safetensors", "threadpoolctl", "torch")


def require(what: str) -> None:
    """Raises ConfigError that says what to install for `what` to be done here."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{what} wants what is not installed here: {', '.join(missing)}. Install headrace[predictor]")
