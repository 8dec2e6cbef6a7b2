"""Compressed rules differ from the shipped ones only in durations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from tests.deploy.compressed import FACTOR, UNITS_S, compressed
from tests.deploy.stretched import RULES

PAIRS = [
    (shipped, short)
    for path in sorted(RULES.glob("*.yml"))
    for before, after in zip(
        yaml.safe_load(path.read_text())["groups"], yaml.safe_load(compressed(path.read_text()))["groups"], strict=True
    )
    for shipped, short in zip(before["rules"], after["rules"], strict=True)
]


def nodes(expression: Any) -> Iterator[Any]:
    """The node and all below it, in order."""
    yield expression
    for name in ("lhs", "rhs", "expr", "args", "param", "vector_selector", "vs"):
        inner = getattr(expression, name, None)
        for each in inner if isinstance(inner, list) else [inner]:
            if each is not None and not isinstance(each, str | int | float):
                yield from nodes(each)


def thresholds(expression: str) -> list[tuple[bool, float]]:
    """The numbers that values are compared with, and whether these values are times: metrics of seconds."""
    result = []
    for node in nodes(promql_parser.parse(expression)):
        if str(getattr(node, "op", "")) in {">", "<", "==", ">=", "<="}:
            names = re.findall(r"headrace[\w:]*", node.lhs.prettify())
            in_seconds = bool(names) and all(name.endswith("_seconds") for name in names)
            result.append((in_seconds, _number(node.rhs)))
    return result


def _number(node: Any) -> float:
    """The value of a number or a product of numbers; of anything else, which is no threshold, 0."""
    if isinstance(node, promql_parser.NumberLiteral):
        return float(node.val)
    return _number(node.lhs) * _number(node.rhs) if str(getattr(node, "op", "")) == "*" else 0.0


def seconds(text: str) -> float:
    return int(text[:-1]) * UNITS_S[text[-1]]


@pytest.mark.parametrize(("shipped", "short"), PAIRS, ids=lambda rule: rule.get("alert") or rule["record"])
def test_only_durations_are_changed_and_all_by_the_same_factor(shipped: dict[str, Any], short: dict[str, Any]) -> None:
    without_numbers = [re.sub(r"\d+[smh]?", "N", yaml.safe_dump(rule, width=10_000)) for rule in (shipped, short)]
    ranges = [re.findall(r"\[(\w+)\]", rule["expr"]) for rule in (shipped, short)]

    assert without_numbers[0] == without_numbers[1]
    assert {**shipped, "expr": "", "for": ""} == {**short, "expr": "", "for": ""}
    for before, after in zip([*ranges[0], shipped.get("for", "0m")], [*ranges[1], short.get("for", "0s")], strict=True):
        assert seconds(after) == seconds(before) / FACTOR
    for (in_seconds, before), (_, after) in zip(thresholds(shipped["expr"]), thresholds(short["expr"]), strict=True):
        assert after == pytest.approx(before / FACTOR if in_seconds and before else before)
