"""Thresholds and plausible ranges: the shipped ones (default.yaml), and those of a file in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from services.notifier.rules.problem_texts import did_you_mean
from services.notifier.rules.yaml_tree import FileProblem, Path, YamlDocument, parse
from shared.errors import ConfigError

Severity = Literal["error", "warning"]
SEVERITIES: tuple[Severity, Severity] = ("error", "warning")
MEASURES = (
    "completeness", "contradictions", "corrected", "correction_delay_median", "correction_delay_p90", "coverage",
    "days_without_events", "dead_letters", "dead_letters_by_error", "decimals", "delay_max", "delay_median",
    "delay_p90", "disagreement", "duplicates", "events_per_day", "late", "maximum", "median", "minimum",
    "missing_market_rows", "missing_markets", "mixed_precision", "novel_values", "out_of_range", "parked",
    "parked_by_kind", "quantile_01", "quantile_25", "quantile_75", "quantile_99", "regressed", "shift", "status",
    "unfinished",
)  # fmt: skip
OFF = "off"
SECTIONS = ("thresholds", "ranges")

M = TypeVar("M", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float = Field(default=float("-inf"), alias="min")
    high: float = Field(default=float("inf"), alias="max")

    @model_validator(mode="after")
    def _check_limits(self) -> _Part:
        if self.low > self.high:
            raise ValueError("min is above max; exchange them")
        if not self.model_fields_set & {"low", "high"}:
            raise ValueError("it has no limit; write min, max or both")
        return self


class Range(_Part):
    """The plausible values of a field."""


class QualityThreshold(_Part):
    """Accepted values of a measure. `base`: values that were computed from fewer rows do not count."""

    measure: str
    field: str = "*"
    severity: Severity = "error"
    per_venue: bool = False
    base: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_measure(self) -> QualityThreshold:
        if self.measure not in MEASURES:
            hint = did_you_mean(self.measure, MEASURES) or "docs/quality.md lists them"
            raise ValueError(f"there is no measure {self.measure!r}; {hint}")
        return self

    def selects(self, field: str) -> bool:
        return fnmatchcase(field, self.field)

    @property
    def limit_text(self) -> str:
        parts = [("at least", self.low), ("at most", self.high)]
        return " and ".join(f"{word} {limit:g}" for word, limit in parts if abs(limit) != float("inf"))


@dataclass(frozen=True)
class Thresholds:
    """Thresholds by name and ranges by field, which may contain `*`, both in the order of the file."""

    thresholds: Mapping[str, QualityThreshold]
    ranges: Mapping[str, Range]

    def range_of(self, field: str) -> Range | None:
        """The last range whose name matches: those of a file come after the shipped ones."""
        matches = [each for name, each in self.ranges.items() if fnmatchcase(field, name)]
        return matches[-1] if matches else None


def parse_thresholds(content: bytes, origin: str, base: Thresholds | None = None) -> Thresholds:
    """The content of a file, added to `base`. Raises ConfigError with a line for each problem; `origin` is the file."""
    document, problems = parse(content)
    check = _Check(document, list(problems))
    root = document.value
    if root is not None and not isinstance(root, Mapping):
        check.report((), "expected a mapping; write thresholds: and NAME: {measure: ..., max: ...} below it")
    sections: Mapping[str, Any] = root if isinstance(root, Mapping) else {}
    for name in sections:
        if name not in SECTIONS:
            check.report((name,), f"unknown key; {did_you_mean(name, SECTIONS) or 'use thresholds or ranges'}")
    thresholds = dict(base.thresholds) if base else {}
    ranges = dict(base.ranges) if base else {}
    check.merge(sections, "thresholds", QualityThreshold, thresholds)
    check.merge(sections, "ranges", Range, ranges)
    if check.problems:
        lines = sorted(set(check.problems), key=lambda each: (each.line, str(each)))
        raise ConfigError("\n".join(f"{origin}:{problem}" for problem in lines))
    return Thresholds(thresholds, ranges)


class _Check:
    """Collects the problems of one document."""

    def __init__(self, document: YamlDocument, problems: list[FileProblem]) -> None:
        self._document = document
        self.problems = problems

    def report(self, path: Path, text: str) -> None:
        self.problems.append(FileProblem(self._document.line_of(path), path, text))

    def merge(self, root: Mapping[str, Any], section: str, model: type[M], known: dict[str, M]) -> None:
        """Put the entries of a section into `known`. One that replaces another comes last."""
        entries = root.get(section)
        if entries is None:
            return
        if not isinstance(entries, Mapping):
            self.report((section,), "expected a mapping; write NAME: {...} below it")
            return
        for name, value in entries.items():
            path: Path = (section, name)
            if value == OFF:
                if known.pop(name, None) is None:
                    self.report(
                        path,
                        f"there is nothing of this name to remove; {did_you_mean(name, known) or 'remove the line'}",
                    )
                continue
            entry = self._validated(model, value, path)
            if entry is not None:
                if section == "ranges":
                    known.pop(name, None)
                known[name] = entry

    def _validated(self, model: type[M], value: object, path: Path) -> M | None:
        if not isinstance(value, Mapping):
            self.report(path, f"expected a mapping or {OFF}; write {{min: ..., max: ...}}")
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self.report((*path, *details["loc"]), _problem_text(details, model))
            return None


def _problem_text(details: ErrorDetails, model: type[BaseModel]) -> str:
    names = sorted(_names(model))
    match details["type"]:
        case "extra_forbidden":
            name = str(details["loc"][-1])
            return f"unknown key; {did_you_mean(name, names) or 'use ' + ', '.join(names)}"
        case "missing":
            return "is missing; docs/quality.md has an example"
        case "value_error":
            return str(details["ctx"]["error"])
        case _:
            reason = details["msg"].replace("Input should be", "expected")
            return f"{reason}, got {details['input']!r:.60}; correct it"


def _names(model: type[BaseModel]) -> Iterator[str]:
    return (field.alias or name for name, field in model.model_fields.items())
