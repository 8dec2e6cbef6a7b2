"""Reads the declaration of a source from a YAML file: one in this folder, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from services.fetcher.sources.declaration import Source, source_of
from shared.errors import ConfigError

SHIPPED_DIR = Path(__file__).parent
SUFFIXES = (".yaml", ".yml")


def load_source(name: str) -> Source:
    """Load a source by name (`boatrace`) or by path (`my/FILE.yaml`). Raises ConfigError with the file and the key."""
    path = _path_of(name, Path())
    return source_of(_read_declaration(path, ()), str(path))


def _path_of(name: str, folder: Path) -> Path:
    """A name with a suffix is a path, relative to `folder`."""
    path = folder / name if name.endswith(SUFFIXES) else SHIPPED_DIR / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in SHIPPED_DIR.glob("*.yaml")))
        raise ConfigError(f"expected one of the sources {shipped}, or the path of a YAML file; {name} does not exist")
    return path


def _read_declaration(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """The file's keys merged over those of the source it extends."""
    if path.resolve() in extending:
        raise ConfigError(f"{path}: extends: the files form a circle; remove one `extends`")
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(declared, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(declared).__name__}")
    base = declared.pop("extends", None)
    if base is None:
        return declared
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends: expected the name of a source, got {base!r}")
    return _merge(_read_declaration(_path_of(base, path.parent), (*extending, path.resolve())), declared)


def _merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` merged over `base`: mappings key by key; any other value, also a list, is replaced."""
    nested = {
        key: _merge(base[key], value)
        for key, value in overrides.items()
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
    }
    return {**base, **overrides, **nested}
