"""Checks for the packages that training needs. They are optional: the command's own image does not contain them."""

from __future__ import annotations

from importlib.util import find_spec

from shared.errors import ConfigError

# The extra `predictor` in pyproject.toml lists the same packages.
PREDICTOR_PACKAGES = ("lightgbm", "matplotlib", "numpy", "safetensors", "threadpoolctl", "torch")


def require_predictor_extra(action: str) -> None:
    """Raises ConfigError that names the missing packages. `action`: the action that needs them."""
    missing = [name for name in PREDICTOR_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{action} needs packages that are not installed here: {', '.join(missing)}. Install headrace[predictor]"
        )
