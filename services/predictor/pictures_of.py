"""The pictures that a training leaves beside its model, drawn from what it measured."""

from __future__ import annotations

from pathlib import Path

from services.predictor.pictures import draw_agent_curve, draw_learning_curves, draw_reliability
from services.predictor.train import Made


def training_pictures(made: Made, folder: Path) -> list[Path]:
    """Reliability in the state that knows most, learning curves of networks and trees, and the agent's."""
    drawn = []
    if made.validation:
        state = "observation" if "observation" in made.validation else "card"
        validated = made.validation[state]
        drawn.append(folder / "reliability.png")
        draw_reliability(drawn[-1], validated.told.win, validated.events.taken, validated.winner)
    for kind, step in (("network", "epoch"), ("trees", "tree")):
        curves = {name: curve for name, curve in made.curves.items() if name.startswith(kind) and curve}
        if curves:
            drawn.append(folder / f"learning-{kind}.png")
            draw_learning_curves(drawn[-1], curves, step)
    for member, curve in enumerate(made.policy_curves[:1]):
        drawn.append(folder / f"learning-agent-{member}.png")
        draw_agent_curve(
            drawn[-1],
            [each.epoch for each in curve],
            [each.td_loss for each in curve],
            [each.measured.get("return", float("nan")) for each in curve],
            {},
        )
    return drawn
