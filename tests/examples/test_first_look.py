"""The first look at the data: as a marimo notebook and as a Jupyter notebook, over a simulated season."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from matplotlib.figure import Figure
from pandas.testing import assert_frame_equal

from headrace.quality.report import QualityReport
from tests.examples.jupyter_notebook import jupyter_text
from tests.headrace.plots.conftest import season_url
from tests.headrace.plots.season import DAYS, FIRST, MODEL
from tests.shared.generated import WRITE

__all__ = ["season_url"]
FACTS = ["listed", "observed", "settled"]


@pytest.fixture(scope="module")
def notebook(repository: Path) -> Path:
    return repository / "examples" / "first_look.py"


@pytest.fixture
def database(season_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database that connect() finds."""
    password = urlsplit(season_url).password or ""
    monkeypatch.setenv("HEADRACE_DATABASE__URL", season_url.replace(f":{password}@", "@"))
    monkeypatch.setenv("PGPASSWORD", unquote(password))


def run_marimo(notebook: Path) -> tuple[list[Any], dict[str, Any]]:
    """What the cells show, without those that show nothing, and what they define."""
    spec = importlib.util.spec_from_file_location("first_look", notebook)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    outputs, names = module.app.run()
    names["hr"].close()
    return [each for each in outputs if isinstance(each, pd.DataFrame | Figure | QualityReport)], dict(names)


def run_jupyter(notebook: Path) -> dict[str, Any]:
    """What the code cells define, executed from top to bottom in one namespace."""
    names: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    names["hr"].close()
    return names


def test_the_jupyter_notebook_is_made_from_the_marimo_notebook(notebook: Path) -> None:
    jupyter, expected = notebook.with_suffix(".ipynb"), jupyter_text(notebook)
    if os.environ.get(WRITE) == "1":
        jupyter.write_text(expected, "utf-8")

    assert jupyter.read_text("utf-8") == expected
    assert str(notebook.parents[1]) not in expected


@pytest.mark.usefixtures("database")
def test_the_marimo_notebook_shows_tables_and_figures(notebook: Path) -> None:
    shown, names = run_marimo(notebook)

    summary = shown[0].iloc[0]
    assert (summary["venues"], summary["sessions"], summary["events"]) == (4, 4 * DAYS, 48 * DAYS)
    assert (summary["first day"], summary["last day"]) == (FIRST, FIRST + pd.Timedelta(days=DAYS - 1))
    assert sum(isinstance(each, Figure) for each in shown) == 5
    assert all(len(each) for each in shown if isinstance(each, pd.DataFrame))
    assert set(names["predictions"]["model_version"]) == {MODEL}
    assert [each for each in shown if isinstance(each, QualityReport)] == [names["report"]]
    assert "corrected" in set(names["report"].measures["measure"])
    against = next(each for each in shown if isinstance(each, pd.DataFrame) and "difference" in each.columns)
    assert (against["high"] < 0).all()  # the predictions are the true probabilities with noise
    (then,) = (each for each in shown if isinstance(each, pd.DataFrame) and list(each.columns) == FACTS)
    assert list(then.loc["status"]) == FACTS
    chosen = names["events"][names["events"]["event_key"] == names["chosen"]].iloc[0]
    assert list(then.loc["known_at"]) == [chosen[f"{fact}_at"] for fact in FACTS]


@pytest.mark.usefixtures("database")
def test_the_jupyter_notebook_finds_the_same(notebook: Path) -> None:
    _, expected = run_marimo(notebook)

    names = run_jupyter(notebook.with_suffix(".ipynb"))

    assert names["chosen"] == expected["chosen"]
    for name in ("by_day", "results", "predictions", "corrections"):
        assert_frame_equal(names[name], expected[name])
    assert_frame_equal(names["report"].findings, expected["report"].findings)
