"""Reads a declared source from its YAML file: one of sources/, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from services.fetcher.sources.declaration import Source, source_of
from shared.errors import ConfigError

SHIPPED = Path(__file__).parent
SUFFIXES = (".yaml", ".yml")


def load_source(name: str) -> Source:
    """By name (`boatrace`) or by path (`my/FILE.yaml`). Raises ConfigError that names file and key."""
    path = _path_of(name, Path())
    return source_of(_declared(path, ()), str(path))


def _path_of(name: str, folder: Path) -> Path:
    """A name with a suffix is a path, relative to `folder`."""
    path = folder / name if name.endswith(SUFFIXES) else SHIPPED / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.yaml")))
        raise ConfigError(f"expected a source among {shipped}, or the path of a FILE.yaml; there is no {name}")
    return path


def _declared(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's keys over those of the source it extends."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: extends: the files extend each other in a circle")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: no readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(found).__name__}")
    base = found.pop("extends", None)
    if base is None:
        return found
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends: expected the name of a source, got {base!r}")
    return _merged(_declared(_path_of(base, path.parent), (*seen, path.resolve())), found)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; everything else, lists too, is replaced."""
    inner = {
        key: _merged(under[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
    }
    return {**under, **over, **inner}
