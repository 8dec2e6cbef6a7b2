"""`headrace plot` on a database with a simulated season: files, text on a terminal, refused options."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from headrace.cli import command
from headrace.plots.text_chart import WIDTH
from shared.ops.tables.lag_history import TopicLag, store
from tests.headrace.plots.conftest import season_url

__all__ = ["season_url"]
Plot = Callable[..., tuple[int, str, str]]
KINDS = ("rates", "calibration", "log-loss", "lag")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plot(season_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plot:
    """Runs the command on a terminal; returns its exit code, output and messages."""
    password = urlsplit(season_url).password or ""
    monkeypatch.setenv("PGPASSWORD", unquote(password))

    def run(*arguments: str) -> tuple[int, str, str]:
        terminal = Terminal()
        with redirect_stdout(terminal):
            code = command(["plot", *arguments, "--database", season_url.replace(f":{password}@", "@")])
        return code, terminal.getvalue(), capsys.readouterr().err

    return run


@pytest.fixture(scope="module", autouse=True)
def lag_samples(season_url: str) -> None:
    """Three minutes of a cleaner, until now."""
    with psycopg.connect(season_url, autocommit=True) as connection:
        for minute in range(3):
            at = datetime.now(UTC) - timedelta(minutes=minute)
            store(connection, "cleaner", at, [TopicLag("raw-events", 10 * minute, 1.0, 500 - 100 * minute)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("suffix", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_is_written_and_the_same_again(
    plot: Plot, tmp_path: Path, kind: str, suffix: str, begin: bytes
) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"

    assert plot(kind, "--out", str(one)) == (0, "", f"wrote {one}\n")
    assert plot(kind, "--out", str(other))[0] == 0

    assert one.read_bytes().startswith(begin)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, other]


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_gets_text_in_80_columns_without_colour(plot: Plot, kind: str) -> None:
    code, text, messages = plot(kind)

    assert (code, messages) == (0, "")
    assert len(text.splitlines()) > 4
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "\x1b" not in text


def test_options_select_days_venues_models_and_states(plot: Plot) -> None:
    _, rates, _ = plot("rates", "--from", "2026-01-26", "--to", "2026-01-27", "--venue", "3", "--venue", "9")
    _, calibration, _ = plot("calibration", "--model", "20260129-0900-def", "--state", "observation")
    _, losses, _ = plot("log-loss", "--from", "2026-02-01", "--to", "2026-02-05")

    assert rates.startswith("Wins by venue and slot: 288 entries, 2026-01-26 to 2026-01-27\n")
    assert [line[:5].strip() for line in rates.splitlines()[4:7]] == ["03", "09", "all"]
    assert "model 20260129-0900-def" in calibration
    assert "card" not in calibration
    assert [line[:20] for line in losses.splitlines()[7:]] == ["2026-02  card       ", "2026-02  observation"]


def test_the_base_rate_uses_results_before_the_chosen_days(plot: Plot) -> None:
    def february(text: str) -> list[str]:
        return [line.split()[4] for line in text.splitlines() if line.startswith("2026-02")]

    assert february(plot("log-loss")[1]) == february(plot("log-loss", "--from", "2026-02-01", "--to", "2026-02-05")[1])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rates", "--from", "2025-01-01"], 1, "no event of these days and venues has a result with a winner"),
        (["calibration", "--model", "none"], 1, "no prediction of these days, venues, models and states"),
        (["log-loss", "--to", "2026-01-27"], 1, "no prediction of these days, venues, models and states"),
        (["rates", "--out", "x.pdf"], 2, "--out x.pdf: expected a file that ends in .png or .svg"),
        (["rates", "--out", "no/x.png"], 2, "--out no/x.png: there is no folder no"),
        (["rates", "--state", "card"], 2, "--model and --state are for calibration and log-loss, not for rates"),
        (["rates", "--hours", "3"], 2, "--hours is for lag; for rates, name days with --from and --to"),
        (["lag", "--venue", "3"], 2, "--source and --venue are not for lag"),
        (["lag", "--from", "2026-01-01"], 2, "--from and --to are not for lag"),
        (["rates", "--from", "yesterday"], 2, "--from yesterday: expected a day as YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_drawn_is_refused(plot: Plot, arguments: list[str], code: int, message: str) -> None:
    refused, text, messages = plot(*arguments)

    assert (refused, text) == (code, "")
    assert messages.startswith(f"headrace: {message}")
    assert messages.count("\n") == 1


def test_a_pipe_needs_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["plot", "rates"]) == 2

    message = "standard output is not a terminal: name a file with --out FILE.png or FILE.svg"
    assert capfd.readouterr() == ("", f"headrace: {message}\n")
