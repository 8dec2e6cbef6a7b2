"""Pictures are small PNG files of a readable size, also with empty bins, policies and months."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from services.predictor.evaluation import charts
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.live_figures import PublishedPrediction, live_figures

NAN = float("nan")


def reliability(path: Path) -> None:
    random = np.random.default_rng(0)
    odds = random.gamma(0.6, size=(5000, 6)) + np.array([2.5, 0.3, 0.3, 0.2, 0.1, 0.05])
    win = odds / odds.sum(axis=1, keepdims=True)
    winner = (win.cumsum(axis=1) > random.random((5000, 1))).argmax(axis=1)
    charts.draw_reliability(path, win, np.ones((5000, 6), dtype=bool), winner)


def loss_by_month(path: Path) -> None:
    random = np.random.default_rng(1)
    months = [f"2025-{month:02}" for month in range(1, 13)]
    means = 1.16 + 0.01 * random.standard_normal(12)
    charts.draw_loss_by_month(
        path,
        months,
        [Interval(mean, mean - 0.018, mean + 0.018) for mean in means],
        {"slot base rate": (means + 0.19).tolist(), "conditional logit": (means + 0.02).tolist()},
    )


def ablation(path: Path) -> None:
    costs = {"history": Interval(0.016, 0.012, 0.02), "observation": Interval(0.02, 0.015, 0.025)}
    charts.draw_ablation(path, costs | {"card": Interval(0.051, 0.044, 0.059)}, 1.1543)


def learning_curves(path: Path) -> None:
    random = np.random.default_rng(2)
    curves = {
        f"seed {seed}": (1.157 + 0.6 * np.exp(-np.arange(9)) + 0.002 * random.standard_normal(9)).tolist()
        for seed in range(9)
    }
    charts.draw_learning_curves(path, curves, "epoch")


def agent_curve(path: Path) -> None:
    steps = list(range(0, 20_000, 1000))
    returns = [NAN, *(0.98 - 0.1 * np.exp(-np.arange(19) / 5)).tolist()]
    charts.draw_agent_curve(path, steps, np.linspace(3, 1, 20).tolist(), returns)


def policy_returns(path: Path) -> None:
    returns = {
        "agent": Interval(0.985, 0.95, 1.02),
        "always slot 1": Interval(0.903, 0.89, 0.915),
        "random": Interval(0.675, 0.64, 0.71),
        "abstains": Interval(NAN, NAN, NAN),
    }
    charts.draw_policy_returns(path, returns, {"agent": 9312, "always slot 1": 13664, "random": 13664, "abstains": 0})


CHARTS = (reliability, loss_by_month, ablation, learning_curves, agent_curve, policy_returns)


@pytest.mark.parametrize("draw", CHARTS, ids=lambda draw: draw.__name__)
def test_a_picture_is_a_small_png_of_readable_size(draw: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "one.png"
    draw(path)
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])

    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 10_000 < len(content) < 100_000
    assert 500 <= width <= 1200
    assert 250 <= height <= 800


def test_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    ablation(tmp_path / "one.png")
    ablation(tmp_path / "again.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_another_calibration_gives_another_picture(tmp_path: Path) -> None:
    win, occupied = np.full((50, 2), 0.5), np.ones((50, 2), dtype=bool)
    charts.draw_reliability(tmp_path / "one.png", win, occupied, np.arange(50) % 2)
    charts.draw_reliability(tmp_path / "other.png", win, occupied, np.zeros(50, dtype=np.int64))

    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()


@pytest.mark.parametrize("events", [1, 2, 30, 300])
def test_the_chart_of_a_day_is_a_small_png_with_any_number_of_events(events: int) -> None:
    random = np.random.default_rng(events)
    win = random.dirichlet(np.ones(6), size=events)
    figures = live_figures(
        [
            PublishedPrediction(
                f"s{n % 13}", f"m{n % 2}", dict(enumerate(each.tolist(), 1)), int(random.integers(1, 7))
            )
            for n, each in enumerate(win)
        ],
        {1: 55, 2: 13, 3: 12, 4: 10, 5: 6, 6: 4},
    )

    target = BytesIO()
    charts.draw_day(target, figures, "boatrace, 2031-05-01")

    content = target.getvalue()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 10_000 < len(content) < 200_000
    assert 900 <= width <= 1200
    assert 400 <= height <= 800
