"""docs/notifications.md has the tables of the code, and a valid example."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from services.notifier.kinds import EVENT_KINDS, PIPELINE_KINDS
from services.notifier.rules.kind_keys import KEYS_OF_KIND, THRESHOLDS
from services.notifier.rules.model import ConsoleTarget, Rule
from services.notifier.rules.problem_texts import EXAMPLES
from services.notifier.rules.rule_book import DEFAULT_THRESHOLDS, RuleBook
from services.notifier.rules.validation import TARGETS, parse_rules
from services.notifier.texts.default_templates import DEFAULT_TEMPLATES
from services.notifier.texts.templates import FILTERS
from services.notifier.texts.variables import VARIABLES
from tests.shared.generated import compare

SETTINGS = {"tip": "`notifier.tip_probability`", "big-payout": "`notifier.big_amount`"}
KINDS = {
    "tip": "before an event starts, a prediction gives one entry a high win probability",
    "big-payout": "an event has a high payout",
    "grade": "the last event of a session of a high grade is settled",
    "surprise": "the winner had a low win probability in the last prediction",
    "called-off": "events of a session are cancelled",
    "daily": "all events of a source's day have ended",
}


def rules_table() -> str:
    rows = ["| `finding` | when | `threshold` | default | filters |", "| --- | --- | --- | --- | --- |"]
    for kind, meaning in KINDS.items():
        threshold = THRESHOLDS[kind].meaning if kind in THRESHOLDS else ""
        default = SETTINGS.get(kind) or (f"{DEFAULT_THRESHOLDS[kind]:g}" if kind in THRESHOLDS else "")  # type: ignore[index]
        filters = ", ".join(f"`{key}`" for key in sorted(KEYS_OF_KIND[kind]))
        rows.append(f"| `{kind}` | {meaning} | {threshold} | {default} | {filters} |")
    return "\n".join(rows)


def variables_tables() -> str:
    tables = []
    titles = {kind: f"`{kind}`" for kind in KINDS} | {min(PIPELINE_KINDS): "Alerts about the pipeline"}
    for kind, title in titles.items():
        rows = [f"| `{each.name}` | {each.meaning} |" for each in VARIABLES[kind]]
        tables.append("\n".join([f"{title}:", "", "| variable | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join(tables)


def test_the_document_has_every_kind_of_finding(repository: Path) -> None:
    assert KINDS.keys() == EVENT_KINDS
    compare(repository / "docs" / "notifications.md", "rules", rules_table())


def test_the_document_has_every_variable(repository: Path) -> None:
    compare(repository / "docs" / "notifications.md", "variables", variables_tables())


def test_the_document_names_every_key_filter_and_kind(repository: Path) -> None:
    text = (repository / "docs" / "notifications.md").read_text(encoding="utf-8")

    names = [field.alias or name for name, field in (Rule.model_fields | ConsoleTarget.model_fields).items()]
    assert [
        name
        for name in [*names, *FILTERS, *TARGETS, *PIPELINE_KINDS]
        if f"`{name}`" not in text and f"{name}:" not in text
    ] == []


def test_the_example_is_valid(repository: Path) -> None:
    text = (repository / "docs" / "notifications.md").read_text(encoding="utf-8")
    chapter = text.partition("\n## Rules\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```yaml\n(.*?)```", chapter, re.DOTALL)

    book = RuleBook(parse_rules(example.encode(), "docs/notifications.md"))

    assert [rule.name for rule in book.rules_of("tip")] == ["favourites"]


def test_the_template_of_an_alert_is_the_default_one(repository: Path) -> None:
    text = (repository / "docs" / "notifications.md").read_text(encoding="utf-8")
    chapter = text.partition("\n## Templates\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```yaml\n(.*?)```", chapter, re.DOTALL)

    file = parse_rules(f"rules:\n{example}".encode(), "docs/notifications.md")

    assert file.rules["stage-down"].template == DEFAULT_TEMPLATES["stage-down"]


def test_an_error_says_what_to_write_for_every_key() -> None:
    models: list[type[BaseModel]] = [Rule, *TARGETS.values()]
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}

    assert keys - EXAMPLES.keys() <= {"finding", "kind"}
