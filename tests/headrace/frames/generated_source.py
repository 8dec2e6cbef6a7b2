"""The source of headrace/frames/views.py and the text of docs/views.md, from the catalogue.

`HEADRACE_WRITE_DOCS=1 pytest tests/headrace/frames/test_generated.py` writes them.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from headrace.frames.catalogue import VIEWS, Column, Scope, View

EXAMPLES = {
    "sessions": 'hr.sessions("2026-01", venue=7)',
    "events": 'hr.events("2026-01-31", venue=[7, 12])',
    "entities": 'hr.entities("2026-01-31")  # those with an entry in an event of the day',
    "entity_history": 'hr.entity_history("2026-01-31", attribute="class")',
    "entries": 'hr.entries("2026-01-05/2026-01-09").headrace.wide()',
    "observations": 'hr.observations(event="boatrace:2026-01-31:07:04")',
    "outcomes": 'hr.outcomes("2026-01", columns=["event_key", "slot", "place"])',
    "transactions": 'hr.transactions("2026-01", market="trifecta")',
    "return_rates": 'hr.return_rates(scope="venue", market="win")',
    "predictions": 'hr.predictions("2026-01", model="live", head="result")',
    "decisions": 'hr.decisions("2026-01", state="observation")',
    "prediction_scores": 'hr.prediction_scores("2026-01", shadow=False)',
    "results": 'hr.results("2026-01").headrace.returns(by=["venue", "slot"], market="win")',
    "dead_letters": 'hr.dead_letters("2026-01-31", service="cleaner")',
}
DAYS = (
    "span: Day | None = None",
    "*",
    "day: Day | None = None",
    "from_day: Day | None = None",
    "to_day: Day | None = None",
)
ARGUMENTS = {
    Scope.SESSION: (*DAYS, "venue: Integers = None", "source: Texts = None"),
    Scope.EVENT: (*DAYS, "venue: Integers = None", "source: Texts = None", "event: Texts = None"),
    Scope.ENTITY: (*DAYS, "venue: Integers = None", "source: Texts = None", "event: Texts = None"),
    Scope.KEY: (*DAYS, "venue: Integers = None", "source: Texts = None", "event: Texts = None"),
    Scope.TIME: (*DAYS, "event: Texts = None"),
    Scope.SOURCE: ("*", "source: Texts = None"),
}  # fmt: skip
SELECTION = {
    Scope.SESSION: "the session's own date, venue and source",
    Scope.EVENT: "date, venue and source of the event's session, or keys of events",
    Scope.ENTITY: "events in which the entity has an entry",
    Scope.KEY: "the parts of the event's key",
    Scope.TIME: "the UTC day of `failed_at`",
    Scope.SOURCE: "the source",
}

MODEL = "model: Texts = None"
ABOUT_MODEL = (
    '`model="live"`: the model that made the newest prediction of each source, shadows aside; in `hr.as_of(...)`, the',
    "newest by that instant. `model` also takes versions, as `model_version` does.",
)
COST_AS_OF = {
    "entities": (
        "In `hr.as_of(...)`, all days are read, because each card may be the newest of an entity: about 1 s of CPU",
        "time per 5,000 events in the database.",
        "",
    ),
    "return_rates": (
        "In `hr.as_of(...)`, they are summed again over all days until the instant: about 2 s of CPU time per 5,000",
        "events in the database.",
        "",
    ),
}

VIEWS_HEAD = '''"""One method per view. Generated from the catalogue by tests/headrace/frames/generated_source.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pandas as pd

from headrace.frames.arguments import with_explained_arguments
from headrace.frames.catalogue import VIEWS, View
from headrace.frames.days import Day, Days, days_of
from headrace.frames.query import Filters, filters_of

Integers = int | Sequence[int] | None
Texts = str | Sequence[str] | None
Columns = Sequence[str] | None


@with_explained_arguments
class Views(ABC):
    """The views as methods; a subclass says where the rows come from.

    Days: the first argument is a day, a month, a year or FIRST/LAST ("2026-01-31", "2026-01", "2026",
    "2026-01-05/2026-01-09"), both ends included; or `day`, or `from_day` and `to_day`. `venue`, `source` and `event`
    take one value or several. `columns` selects columns and their order.

    Every method raises BadArgument for a bad value, UnknownArgument for a misspelt argument, UnknownColumn for a bad
    column, and what the connection raises.
    """

    @abstractmethod
    def view_frame(self, view: View, filters: Filters, columns: Columns) -> pd.DataFrame:
        """The selected rows in the order of the view's key, with the catalogue's data types."""

    def _view(self, name: str, days: Days, columns: Columns, **selection: Any) -> pd.DataFrame:
        return self.view_frame(VIEWS[name], filters_of(VIEWS[name], days, **selection), columns)
'''


def views_source() -> str:
    return formatted("\n\n".join([VIEWS_HEAD, *(method(view) for view in VIEWS.values())]), "views.py")


def method(view: View) -> str:
    filters = [f"{name}: {argument_type(view.column(name))} = None" for name in view.filters]
    filters = [MODEL, *filters] if "model_version" in view.filters else filters
    arguments = ", ".join(["self", *ARGUMENTS[view.scope], *filters, "columns: Columns = None"])
    days = "days_of(span, day, from_day, to_day)" if DAYS[0] in ARGUMENTS[view.scope] else "Days()"
    names = [part.split(":")[0] for part in (*ARGUMENTS[view.scope], *filters) if part not in DAYS]
    passed = ", ".join([f'"{view.name}"', days, "columns", *(f"{name}={name}" for name in names)])
    body = f'    """{docstring(view)}\n    """\n    return self._view({passed})'
    text = f"def {view.name}({arguments}) -> pd.DataFrame:\n{body}"
    return textwrap.indent(text, "    ")


def argument_type(column: Column) -> str:
    return "bool | None" if column.sql_type == "boolean" else "Texts"


def docstring(view: View) -> str:
    lines = [view.meaning, "", f"Days, venues and sources select by {SELECTION[view.scope]}.", ""]
    lines += [*ABOUT_MODEL, ""] if "model_version" in view.filters else []
    lines += [*COST_AS_OF.get(view.name, ()), "Columns:"]
    for column in view.columns:
        lines += textwrap.wrap(
            f"{column.name} ({column.dtype}): {column_text(column)}",
            106, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False,
        )  # fmt: skip
    example = EXAMPLES.get(view.name, f"hr.{view.name}()")
    return textwrap.indent("\n".join([*lines, "", f"Example: `{example}`"]), "    ").strip()


def column_text(column: Column) -> str:
    unit = f" Unit: {column.unit}." if column.unit else ""
    return f"{column.meaning}{unit}{f' Missing: {column.none}.' if column.none else ''}"


def views_document() -> str:
    parts = [view_section(view) for view in VIEWS.values()]
    return "\n\n".join(parts)


def view_section(view: View) -> str:
    stored = "" if view.is_stored else " Not a view of the database: `hr.results()` joins several."
    rows = [
        f"| `{column.name}` | {column.sql_type} | {column.dtype} | {column.unit} | {cell(column)} |"
        for column in view.columns
    ]
    filters = f" Further filters: {', '.join(f'`{name}`' for name in view.filters)}." if view.filters else ""
    key = ", ".join(f"`{name}`" for name in view.key)
    selection = f"Days, venues and sources select by {SELECTION[view.scope]}."
    head = ["| column | SQL type | frame | unit | meaning |", "|-|-|-|-|-|"]
    about = f"{view.meaning}{stored} Key: {key}. {selection}{filters}"
    return "\n".join([f"## {view.name}", "", about, "", *head, *rows])


def cell(column: Column) -> str:
    values = f" One of {', '.join(f'`{value}`' for value in column.values)}." if column.values else ""
    none = f" Missing: {column.none}." if column.none else ""
    return f"{column.meaning}{values}{none}"


def formatted(source: str, name: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "format", "--stdin-filename", f"headrace/frames/{name}", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
