"""Checks for the packages that training needs. They are optional: the command's own image does not contain them."""

from __future__ import annotations

from importlib.util import find_spec

from shared.errors import ConfigError

# The extra `predictor` in pyproject.toml lists the same packages.
PACKAGES = ("lightgbm", "matplotlib", "numpy", "safetensors", "threadpoolctl", "torch")


def require(what: str) -> None:
    """Raises ConfigError that names the missing packages. `what`: the action that needs them."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{what} needs packages that are not installed here: {', '.join(missing)}. Install headrace[predictor]"
        )
