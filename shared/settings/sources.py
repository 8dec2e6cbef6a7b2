"""Reads settings from a YAML file, the environment and options, and records the origin of each value.

Keys are written as in headrace.yaml: `section.name`. Keys in the sections of other services are ignored, because one
file serves all five. loading.py validates keys and values.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.errors import ConfigError

PREFIX = "HEADRACE_"
SERVICE_SECTIONS = ("fetcher", "cleaner", "loader", "predictor", "notifier")


class SettingOrigin(str):
    """Where a value is set, as text: `headrace.yaml:12`, a variable or an option."""


class Setting(NamedTuple):
    value: Any
    origin: SettingOrigin


class SettingField(NamedTuple):
    """One setting of a model: its key, its path of attribute names, and its field."""

    key: str
    path: tuple[str, ...]
    field: FieldInfo


def setting_fields(model: type[BaseModel]) -> Iterator[SettingField]:
    """All settings of a model in declared order."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is None:
            yield SettingField(field.alias or name, (name,), field)
            continue
        for inner_name, inner in section.model_fields.items():
            yield SettingField(f"{field.alias or name}.{inner.alias or inner_name}", (name, inner_name), inner)


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section (optional ones included), else None."""
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def public_key(model: type[BaseModel], key: str) -> str:
    """The key as written in headrace.yaml: `fetcher.from_date` is `fetcher.from`."""
    return next((leaf.key for leaf in setting_fields(model) if ".".join(leaf.path) == key), key)


def variable_of(key: str) -> str:
    """The environment variable of a key: HEADRACE_DATABASE__URL for database.url."""
    return PREFIX + key.replace(".", "__").upper()


def from_yaml(file: Path, model: type[BaseModel]) -> dict[str, Setting]:
    """The settings in a file. Raises ConfigError with the line if it is not a YAML mapping or sets a key twice."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read the settings file {file}: {reason}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}:{line}: expected YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: expected YAML: {error}") from None
    values: dict[str, Setting] = {}
    for key, line, node in [] if root is None else _entries(root, file):
        if not isinstance(node, yaml.MappingNode):
            if not _is_empty_section(key, node, model):
                _add_value(values, key, node, SettingOrigin(f"{file}:{line}"), model)
            continue
        for name, inner_line, inner in _entries(node, file):
            _add_value(values, f"{key}.{name}", inner, SettingOrigin(f"{file}:{inner_line}"), model)
    return values


def from_environment(environ: Mapping[str, str], model: type[BaseModel]) -> dict[str, Setting]:
    """The settings in variables HEADRACE_<SECTION>__<NAME> and HEADRACE_<NAME>. An empty value counts as not given.

    A name without a double underscore that is not a setting is ignored: for a service called headrace-loader,
    Kubernetes sets HEADRACE_LOADER_PORT and similar variables in every container.
    """
    sectionless = {variable_of(leaf.key) for leaf in setting_fields(model) if "." not in leaf.key}
    values: dict[str, Setting] = {}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or not value or ("__" not in variable and variable not in sectionless):
            continue
        key = public_key(model, variable.removeprefix(PREFIX).lower().replace("__", ".", 1))
        if not _of_another_service(key, model):
            values[key] = Setting(value, SettingOrigin(f"environment variable {variable}"))
    return values


def from_options(options: Mapping[str, Any], model: type[BaseModel], prefix: str = "") -> dict[str, Setting]:
    """The settings given on the command line, with dotted or nested keys. None means not given."""
    values: dict[str, Setting] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            values |= from_options(value, model, f"{prefix}{name}.")
        elif value is not None:
            key = public_key(model, prefix + name)
            if not _of_another_service(key, model):
                values[key] = Setting(value, SettingOrigin(f"option {key}"))
    return values


def _add_value(
    values: dict[str, Setting], key: str, node: yaml.Node, origin: SettingOrigin, model: type[BaseModel]
) -> None:
    if _of_another_service(key, model):
        return
    key = public_key(model, key)
    if key in values:
        raise ConfigError(f"{origin}: {key} is already set at {values[key].origin}")
    values[key] = Setting(_value(node, origin, key), origin)


def _entries(node: yaml.Node, file: Path) -> Iterator[tuple[str, int, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: expected `key: value` lines")
    for key, value in node.value:
        yield str(key.value), key.start_mark.line + 1, value


def _is_empty_section(key: str, node: yaml.Node, model: type[BaseModel]) -> bool:
    """Whether the node is a section without keys, for example with all keys commented out."""
    sections = {name for name, field in model.model_fields.items() if section_of(field)} | {*SERVICE_SECTIONS}
    return key in sections and node.tag == "tag:yaml.org,2002:null"


def _value(node: yaml.Node, origin: SettingOrigin, key: str) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        raise ConfigError(f"{origin}: {key}: {reason}") from None


def _of_another_service(key: str, model: type[BaseModel]) -> bool:
    section = key.partition(".")[0]
    return section in SERVICE_SECTIONS and section not in model.model_fields
