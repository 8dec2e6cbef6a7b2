"""Rule books for tests."""

from __future__ import annotations

from typing import Any

from services.notifier.rules.file import read_rules
from services.notifier.rules.model import RuleFile
from services.notifier.rules.rule_book import RuleBook


def default_book() -> RuleBook:
    """The shipped rules."""
    return RuleBook(read_rules(None).parse())


def book_of(channels: dict[str, Any] | None = None, time_zone: str = "UTC", **rules: Any) -> RuleBook:
    """Rules by name; an underscore in a name is a hyphen."""
    named = {name.replace("_", "-"): rule for name, rule in rules.items()}
    content = {"time_zone": time_zone, "channels": channels or {}, "rules": named}
    return RuleBook(RuleFile.model_validate(content))
