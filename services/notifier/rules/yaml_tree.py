"""Reads a small YAML document with the line of each value. Reports all duplicate keys and unsupported features.

Plain scalars are null, true, false, numbers or texts (YAML 1.2): `22:00`, `on` and `no` are texts. Tags are refused,
and so is a document whose aliases stand for too many values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import yaml

MAX_SIZE_BYTES = 128 * 1024
MAX_VALUES = 20_000
MAX_DEPTH = 20
NULL = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS: Mapping[str, bool] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
INTEGER = re.compile(r"[-+]?[0-9]{1,40}", re.ASCII)
NUMBER = re.compile(r"[-+]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
# Other control characters, and halves of characters that JSON-like escapes can write, are in no text of a rule file.
REFUSED_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Errors of PyYAML; the others are for escapes and numbers that it does not check.
YAML_ERRORS = (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError, RecursionError)

Path = tuple[str | int, ...]


class FileProblem(NamedTuple):
    """A problem in a file: its line (from 1), the path of the key, what is wrong, and what to do."""

    line: int
    path: Path
    text: str

    def __str__(self) -> str:
        key = ".".join(str(part) for part in self.path)
        return f"{self.line}: {key}: {self.text}" if key else f"{self.line}: {self.text}"


class YamlDocument(NamedTuple):
    """`value` consists of dict, tuple, str, int, float, bool and None. `lines` are by path; `text_lines` are those of
    the first line of a text, which is below its key if it is a block."""

    value: object
    lines: Mapping[Path, int]
    text_lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int:
        """The line of the value, or of the closest value around it."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 1)


def parse(content: bytes) -> tuple[YamlDocument, list[FileProblem]]:
    """The document, without the values that have a problem, and the problems."""
    if len(content) > MAX_SIZE_BYTES:
        text = f"the file has {len(content):,} bytes; at most {MAX_SIZE_BYTES:,} are allowed, so shorten it"
        return YamlDocument(None, {}, {}), [FileProblem(1, (), text)]
    try:
        root = yaml.compose(content.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return YamlDocument(None, {}, {}), [FileProblem(line, (), "it is not UTF-8 text; save it as UTF-8")]
    except YAML_ERRORS as error:
        return YamlDocument(None, {}, {}), [_yaml_problem(error)]
    reader = _TreeReader()
    value = None if root is None else reader.read(root, ())
    return YamlDocument(value, reader.lines, reader.text_lines), reader.problems


class _Loader(yaml.SafeLoader):
    """Leaves every plain scalar a text; _TreeReader decides what it is."""

    yaml_implicit_resolvers: Mapping[str, list[object]] = {}  # type: ignore[assignment]


class _TreeReader:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.text_lines: dict[Path, int] = {}
        self.problems: list[FileProblem] = []
        self._values = 0

    def read(self, node: yaml.Node, path: Path) -> object:
        self._values += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            text = f"the document has more than {MAX_VALUES:,} values or {MAX_DEPTH} levels; use fewer aliases"
            if self._values <= MAX_VALUES + 1:
                self.problems.append(FileProblem(line, path, text))
            self._values = max(self._values, MAX_VALUES + 1)
            return None
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in {"str", "seq", "map"}:
            self.problems.append(FileProblem(line, path, f"the tag {node.tag[:60]!r} is not supported; remove it"))
            return None
        match node:
            case yaml.ScalarNode():
                return self._scalar(node, path, line)
            case yaml.SequenceNode():
                return tuple(self.read(child, (*path, index)) for index, child in enumerate(node.value))
            case yaml.MappingNode():
                return dict(self._items(node, path))
        raise TypeError(f"PyYAML has no node {type(node).__name__}")

    def _items(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, object]]:
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or REFUSED_CHARACTERS.search(key_node.value):
                self.problems.append(FileProblem(line, path, "a key must be a text on one line; replace this one"))
                continue
            key = key_node.value
            if key in first_lines:
                text = f"the key is already in line {first_lines[key]}; remove one of the two"
                self.problems.append(FileProblem(line, (*path, key), text))
                continue
            first_lines[key] = line
            self.lines[*path, key] = line
            yield key, self.read(value_node, (*path, key))

    def _scalar(self, node: yaml.ScalarNode, path: Path, line: int) -> object:
        text = node.value
        if node.style is None:
            if text in NULL:
                return None
            if text in BOOLEANS:
                return BOOLEANS[text]
            if INTEGER.fullmatch(text):
                return int(text)
            if NUMBER.fullmatch(text):
                return float(text)
        if REFUSED_CHARACTERS.search(text):
            self.problems.append(FileProblem(line, path, "the text contains a control character; remove it"))
            return None
        self.text_lines[path] = line + 1 if node.style in {"|", ">"} else line
        return text


def _yaml_problem(error: Exception) -> FileProblem:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, RecursionError):
        return FileProblem(1, (), f"the document has too many levels; at most {MAX_DEPTH} are allowed")
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    line = 1 if mark is None else mark.line + 1
    return FileProblem(line, (), f"this is not YAML: {reason}; correct it, or quote the text")
