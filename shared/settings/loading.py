"""Loads and validates settings from headrace.yaml, the environment and command-line options, in rising precedence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.errors import ConfigError
from shared.settings import sources
from shared.settings.sections import Settings

DEFAULT_CONFIG = Path("headrace.yaml")
CONFIG_VARIABLE = "HEADRACE_CONFIG"

S = TypeVar("S", bound=Settings)


def load(
    model: type[S], environ: Mapping[str, str], config: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> S:
    """Settings from the file, the environment and `overrides`; a later source replaces an earlier one.

    `overrides` has dotted or nested keys; None means not given. Raises ConfigError with one line per problem: where the
    value is set, the key, and what is expected.
    """
    file = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    said: dict[str, sources.Setting] = {}
    if file is not None or DEFAULT_CONFIG.exists():
        said |= sources.from_yaml(file or DEFAULT_CONFIG, model)
    said |= sources.from_environment(environ, model)
    said |= sources.from_options(overrides or {}, model)
    try:
        return model.model_validate(_nested(said))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError("\n".join(_line(detail, said, model, file or DEFAULT_CONFIG) for detail in details)) from None


def _nested(said: Mapping[str, sources.Setting]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, setting in said.items():
        section, _, name = key.partition(".")
        inside = tree.setdefault(section, {}) if name else tree
        if not isinstance(inside, dict) or (not name and section in tree):
            raise ConfigError(f"{setting.origin}: {section} is both a section and a plain value; use one of them")
        inside[name or section] = setting.value
    return tree


def _line(detail: ErrorDetails, said: Mapping[str, sources.Setting], model: type[Settings], file: Path) -> str:
    """One line for one problem that pydantic found."""
    key = sources.public_key(model, ".".join(str(part) for part in detail["loc"] if isinstance(part, str)))
    if detail["type"] == "missing":
        required = [leaf.key for leaf in sources.leaves(model) if leaf.field.is_required()]
        wanted = [each for each in required if f"{each}.".startswith(f"{key}.")]
        variables = " and ".join(sources.variable_of(each) for each in wanted)
        return f"{' and '.join(wanted)} is missing: set it in {file} or in the environment as {variables}"
    origin = _origin(key, said)
    if detail["type"] == "extra_forbidden":
        key = key if key in said else next((each for each in said if each.startswith(f"{key}.")), key)
        return f"{origin}: there is no setting {key}{_nearest(key, model)}"
    if detail["type"] == "model_type":
        return f"{origin}: {key}: expected `name: value` lines below it"
    # Not shown: a URL may contain a password, and an operator may have put a secret in place of its file's name.
    shown = (
        ""
        if "url" in key or key.endswith("_file") or isinstance(detail["input"], dict)
        else f" (it is {str(detail['input'])!r})"
    )
    return f"{origin}: {key}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _origin(key: str, said: Mapping[str, sources.Setting]) -> sources.Origin:
    """Where a key is set; for a section, where the first of its keys is set; for a list element, where its list is."""
    near = [said[each].origin for each in said if f"{each}.".startswith(f"{key}.") or key.startswith(f"{each}.")]
    return near[0] if near else sources.Origin("settings")


def _nearest(key: str, model: type[Settings]) -> str:
    keys = [leaf.key for leaf in sources.leaves(model)]
    same = [other for other in keys if other.partition(".")[0] == key.partition(".")[0]]
    near = difflib.get_close_matches(key, same or keys, n=1)
    return f"; did you mean {near[0]}?" if near else ""
