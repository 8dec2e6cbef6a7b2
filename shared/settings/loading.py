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
    values: dict[str, sources.Setting] = {}
    if file is not None or DEFAULT_CONFIG.exists():
        values |= sources.from_yaml(file or DEFAULT_CONFIG, model)
    values |= sources.from_environment(environ, model)
    values |= sources.from_options(overrides or {}, model)
    try:
        return model.model_validate(_to_tree(values))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError(
            "\n".join(_error_line(detail, values, model, file or DEFAULT_CONFIG) for detail in details)
        ) from None


def _to_tree(values: Mapping[str, sources.Setting]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, setting in values.items():
        section, _, name = key.partition(".")
        node = tree.setdefault(section, {}) if name else tree
        if not isinstance(node, dict) or (not name and section in tree):
            raise ConfigError(f"{setting.origin}: {section} is both a section and a plain value; use one of them")
        node[name or section] = setting.value
    return tree


def _error_line(detail: ErrorDetails, values: Mapping[str, sources.Setting], model: type[Settings], file: Path) -> str:
    """One line for one problem that pydantic found."""
    key = sources.public_key(model, ".".join(str(part) for part in detail["loc"] if isinstance(part, str)))
    if detail["type"] == "missing":
        required = [leaf.key for leaf in sources.setting_fields(model) if leaf.field.is_required()]
        missing = [each for each in required if f"{each}.".startswith(f"{key}.")]
        variables = " and ".join(sources.variable_of(each) for each in missing)
        return f"{' and '.join(missing)} is missing: set it in {file} or in the environment as {variables}"
    origin = _origin_of(key, values)
    if detail["type"] == "extra_forbidden":
        key = key if key in values else next((each for each in values if each.startswith(f"{key}.")), key)
        return f"{origin}: there is no setting {key}{_suggestion(key, model)}"
    if detail["type"] == "model_type":
        return f"{origin}: {key}: expected `name: value` lines below it"
    # Not shown: a URL or an option may contain a password, and an operator may have put a secret in place of its file's
    # name.
    shown = (
        ""
        if "url" in key
        or key.endswith(("_file", "_options"))
        or "://" in str(detail["input"])
        or isinstance(detail["input"], dict)
        else f" (it is {str(detail['input'])!r})"
    )
    return f"{origin}: {key}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _origin_of(key: str, values: Mapping[str, sources.Setting]) -> sources.SettingOrigin:
    """Where a key is set; for a section, where the first of its keys is set; for a list element, where its list is."""
    origins = [values[each].origin for each in values if f"{each}.".startswith(f"{key}.") or key.startswith(f"{each}.")]
    return origins[0] if origins else sources.SettingOrigin("settings")


def _suggestion(key: str, model: type[Settings]) -> str:
    keys = [leaf.key for leaf in sources.setting_fields(model)]
    candidates = [other for other in keys if other.partition(".")[0] == key.partition(".")[0]]
    matches = difflib.get_close_matches(key, candidates or keys, n=1)
    return f"; did you mean {matches[0]}?" if matches else ""
