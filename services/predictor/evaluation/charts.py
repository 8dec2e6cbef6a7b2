"""Charts of training, back-tests and evaluation as small PNGs, in files or memory. Needs no display and has no global
state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.chart_parts import (
    COLOURS,
    legend_below,
    loss_by_month_figure,
    new_figure,
    plot_curve,
    plot_whiskers,
    reliability_figure,
    wilson_curve,
)
from services.predictor.evaluation.live_figures import LiveFigures
from services.predictor.evaluation.measures import every_slot, most_probable


def draw_reliability(
    target: Path | BytesIO, win: Floats, occupied: Bools, winner: Ints, title: str = "Reliability of P(win)"
) -> None:
    """P(win) against observed frequency, of all slots and of the most probable. win (n, S), winner (n,) slot index."""
    curves = {
        "every entry": wilson_curve(*every_slot(win, occupied, winner)),
        "the most probable entry": wilson_curve(*most_probable(win, winner)),
    }
    _save(reliability_figure(curves, f"{title} ({len(winner):,} events)"), target)


def draw_day(target: Path | BytesIO, figures: LiveFigures, day: str) -> None:
    """The predictions of a day: reliability of P(win), and the gain over the base rate, summed event by event.

    The sum shows how much the day gained, and where. Hourly means of ten events would be mostly noise.
    """
    figure, (shares, gains) = new_figure(1, width_inches=10.4, height_inches=4.8, columns=2)
    plot_curve(shares, wilson_curve(*every_slot(figures.win, figures.occupied, figures.winner)), "every entry")
    shares.set(xlabel="predicted probability", ylabel="share of winners, 95 % interval", title="Reliability of P(win)",
               xlim=(0, 1))  # fmt: skip
    shares.legend(loc="upper left", frameon=False, fontsize=9)
    gain = np.concatenate([[0.0], figures.cumulated_gain()])
    at = np.arange(len(gain))
    gains.plot(at, gain, color="black", linewidth=1.4)
    gains.fill_between(at, gain, 0, where=gain >= 0, interpolate=True, color=COLOURS[0], alpha=0.25,
                       label="above 0: better than the base rate")  # fmt: skip
    gains.fill_between(at, gain, 0, where=gain <= 0, interpolate=True, color=COLOURS[1], alpha=0.25, hatch="///",
                       label="below 0: worse than the base rate")  # fmt: skip
    gains.axhline(0, color="black", linewidth=0.8)
    gains.annotate(f"{gain[-1]:+.1f}", (at[-1], gain[-1]), (4, 0), textcoords="offset points", va="center", fontsize=9)
    gains.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    gains.set(xlabel="settled events, in the order of their starts", ylabel="gain over the base rate, nats, summed",
              title=_gain_title(figures), xlim=(0, len(figures) * 1.1))  # fmt: skip
    gains.legend(loc="best", frameon=False, fontsize=9)
    count = f"{len(figures):,} event{'s' if len(figures) > 1 else ''}"
    figure.suptitle(f"{day}: {count}, model {', '.join(figures.models)}", fontsize=12)
    _save(figure, target)


def draw_loss_by_month(
    path: Path, months: Sequence[str], losses: Sequence[Interval], references: Mapping[str, Sequence[float]]
) -> None:
    """`losses`: of the model, one per month; `references`: name -> log-loss per month, e.g. of the base rate."""
    _save(loss_by_month_figure(months, {"model": losses}, references), path)


def draw_ablation(path: Path, costs: Mapping[str, Interval], whole: float) -> None:
    """`costs`: part left out -> log-loss without it minus that of the whole model, `whole`."""
    figure, (axes,) = new_figure(1, height_inches=1.8 + 0.5 * len(costs))
    names = sorted(costs, key=lambda name: costs[name].mean)
    axes.barh(names, [costs[name].mean for name in names], color=COLOURS[0], alpha=0.35, height=0.6)
    plot_whiskers(axes, range(len(names)), [costs[name] for name in names], upright=False)
    right = max([cost.high for cost in costs.values()] + [0.0])
    for index, name in enumerate(names):
        axes.annotate(f"{costs[name].mean:+.4f}", (max(costs[name].high, 0), index), (6, 0),
                      textcoords="offset points", va="center", fontsize=9)  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    left = min([cost.low for cost in costs.values()] + [0.0])
    axes.set_xlim(left - 0.03 * (right - left), right + 0.2 * (right - left))
    axes.set(
        xlabel="increase of the log-loss, nats (95 % interval)",
        ylabel="left out",
        title=f"Contribution of each part (log-loss of the whole model: {whole:.4f})",
    )
    axes.xaxis.set_major_locator(MaxNLocator(6))
    _save(figure, path)


def draw_learning_curves(
    path: Path, curves: Mapping[str, Sequence[float]], step: str = "epoch", loss: str = "log-loss"
) -> None:
    """`curves`: member -> validation loss after each step, from step 1; the lowest of each is marked."""
    figure, (axes,) = new_figure(1)
    for index, (name, curve) in enumerate(curves.items()):
        colour, steps = COLOURS[index % len(COLOURS)], np.arange(1, len(curve) + 1)
        best = int(np.argmin(curve))
        axes.plot(steps, curve, color=colour, linewidth=1.4, linestyle="-" if index < len(COLOURS) else "--",
                  label=f"{name}: best {curve[best]:.4f}")  # fmt: skip
        axes.plot(best + 1, curve[best], "o", color=colour, markersize=5)
    # The later steps set the scale: the first losses are far higher.
    ends = [loss for curve in curves.values() for loss in curve[len(curve) // 3 :]]
    room = 0.08 * (max(ends) - min(ends)) or 0.01
    axes.set_ylim(min(ends) - room, max(ends) + room)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set(xlabel=step, ylabel=f"validation {loss}, nats", title=f"Learning curves: validation {loss} by {step}")
    legend_below(figure, axes)
    _save(figure, path)


def draw_agent_curve(
    path: Path, steps: Sequence[int], td_errors: Sequence[float], returns: Sequence[float], step: str = "update steps"
) -> None:
    """Temporal-difference loss of the DQN agent, and its unshaped return per unit staked on validation, by step.

    A return is NaN if the agent placed no bet.
    """
    figure, (above, below) = new_figure(2, heights=(2, 1.3), height_inches=5.6, shared=True)
    above.plot(steps, returns, color=COLOURS[0], linewidth=1.5, marker=".", label="agent")
    above.axhline(1, color="black", linewidth=0.8)
    above.set(ylabel="return per unit staked", title="Agent: unshaped return on validation (1 = break-even)")
    below.plot(steps, td_errors, color=COLOURS[1], linewidth=1.2, marker=".")
    below.set(xlabel=step, ylabel="TD loss")
    below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    legend_below(figure, above)
    _save(figure, path)


def draw_policy_returns(path: Path, returns: Mapping[str, Interval], bets: Mapping[str, int]) -> None:
    """Return per unit staked of each policy, with its interval and number of bets, in the given order."""
    figure, (axes,) = new_figure(1, width_inches=7.2, height_inches=1.8 + 0.45 * len(returns))
    names = list(returns)[::-1]
    plot_whiskers(axes, range(len(names)), [returns[name] for name in names], upright=False)
    axes.set_yticks(np.arange(len(names)), [f"{name}\n({bets[name]:,} bets)" for name in names], fontsize=9)
    for index, name in enumerate(names):
        if np.isnan(returns[name].mean):
            axes.text(0.02, index, "no bets", transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        else:
            axes.annotate(f"{returns[name].mean:.3f}", (returns[name].mean, index), (0, 6),
                          textcoords="offset points", ha="center", fontsize=9)  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.set(xlabel="return per unit staked (95 % interval; 1 = break-even)", title="Policies: return per unit staked")
    _save(figure, path)


def _gain_title(figures: LiveFigures) -> str:
    means = f"Log-loss {figures.loss.mean():.3f}, base rate {figures.base_loss.mean():.3f}"
    gain = figures.gain()
    return (
        means if gain is None else f"{means}\ngain {gain.mean:.3f} an event (95 %: {gain.low:.3f} to {gain.high:.3f})"
    )


def _save(figure: Figure, target: Path | BytesIO) -> None:
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, format="png", metadata={"Software": None})
