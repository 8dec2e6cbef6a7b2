"""`headrace quality`: its forms, its exit code, and the stored result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.database.access import Access
from shared.ops.tables import quality_results
from tests.headrace.commands.conftest import Headrace

DAY = ("--from", "2026-01-31")
# The filled directory has an event without entries.
NOTHING = "thresholds:\n" + "".join(
    f"  {name}: off\n" for name in ("entries", "outcomes", "observations", "dead-letters")
)
WITHOUT_PANDAS = """
import sys
sys.modules["pandas"] = None
from headrace.cli import command
sys.exit(command(sys.argv[1:]))
"""


@pytest.fixture
def tolerant(tmp_path: Path) -> str:
    file = tmp_path / "limits.yaml"
    file.write_text(NOTHING)
    return str(file)


def test_a_broken_threshold_is_exit_code_1_and_a_good_report_0(headrace: Headrace, tolerant: str) -> None:
    code, out, _ = headrace("quality", *DAY)
    good_code, good_out, _ = headrace("quality", *DAY, "--thresholds", tolerant)

    assert (code, good_code) == (1, 0)
    assert (
        "error: events with entries: 0.0 % (0 of 1); accepted: at least 0.99, for example made-up:2026-01-31:07:01"
        in out
    )
    assert out.splitlines()[-1].startswith("failed: ")
    assert good_out.splitlines()[-1].startswith("passed: 0 errors")


def test_json_is_the_whole_report_and_the_page_is_written(headrace: Headrace, tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    code, out, err = headrace("quality", *DAY, "--json", "--out", str(page), "--venue", "7", "--source", "made-up")

    report = json.loads(out)
    assert code == 1
    assert report["span"] == {"first": "2026-01-31", "last": "2026-01-31", "venues": [7], "sources": ["made-up"]}
    assert report["counts"]["events"] == 1
    assert page.read_text().startswith("<!doctype html>")
    assert str(page) in err


def test_with_record_the_broken_thresholds_are_stored_also_if_there_are_none(
    headrace: Headrace, access: Access, tolerant: str
) -> None:
    headrace("quality", *DAY)
    with access.connect() as connection:
        before = quality_results.newest(connection)
        headrace("quality", *DAY, "--record")
        poor = quality_results.newest(connection)
        headrace("quality", *DAY, "--record", "--thresholds", tolerant)
        good = quality_results.newest(connection)

    assert before is None
    assert poor is not None
    assert good is not None
    assert (poor.broken["entries"], poor.broken["days"]) == (1, 0)
    assert str(poor.first_day) == "2026-01-31"
    assert poor.findings[0].startswith("events with entries")
    assert "unfinished" not in poor.broken  # a warning
    assert set(good.broken.values()) == {0}
    assert good.findings == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which days? Expected --from"),
        (("--from", "soon"), "--from soon: expected a day"),
        ((*DAY, "--to", "2026-01-30"), "--to 2026-01-30 is before --from 2026-01-31"),
        ((*DAY, "--record", "--venue", "7"), "leave out --source and --venue"),
        ((*DAY, "--thresholds", "none.yaml"), "none.yaml: cannot read the thresholds"),
    ],
)
def test_wrong_options_are_refused(headrace: Headrace, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = headrace("quality", *arguments)

    assert code == 2
    assert message in err


def test_without_the_packages_one_line_says_what_to_install(tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PANDAS, "quality", *DAY, "--data-dir", str(tmp_path / "data")]

    result = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(repository)}
    )

    assert result.returncode == 2
    assert result.stderr == (
        "headrace: headrace quality needs packages that are not installed here: pandas. Install headrace[frames]\n"
    )
    assert not (tmp_path / "data").exists()


def test_the_command_line_does_not_import_pandas(repository: Path) -> None:
    program = (
        "import sys; from headrace.cli import build_app; build_app();"
        " sys.exit(any(name in sys.modules for name in ('pandas', 'pyarrow', 'matplotlib')))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=repository).returncode == 0
