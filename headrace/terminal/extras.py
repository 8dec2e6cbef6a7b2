"""Checks for the packages of extras: an installation, and the command's own image, may lack them."""

from __future__ import annotations

from importlib.util import find_spec

from shared.errors import ConfigError

# The modules that the extras in pyproject.toml install.
MODULES = {
    "fetcher": ("httpx2",),
    "predictor": ("lightgbm", "matplotlib", "numpy", "safetensors", "threadpoolctl", "torch"),
    "notifier": ("discord", "jinja2"),
    "simulator": ("aiohttp", "numpy"),
    "parquet": ("fsspec", "pyarrow", "s3fs"),
    "frames": ("adbc_driver_postgresql", "matplotlib", "numpy", "pandas", "pandera"),
}


def require_extras(action: str, *extras: str) -> None:
    """Raises ConfigError that names the missing packages. `action`: the action that needs them."""
    missing = sorted({name for extra in extras for name in MODULES[extra] if find_spec(name) is None})
    if missing:
        wanted = extras[0] if len(extras) == 1 else "all"
        raise ConfigError(
            f"{action} needs packages that are not installed here: {', '.join(missing)}. Install headrace[{wanted}]"
        )
