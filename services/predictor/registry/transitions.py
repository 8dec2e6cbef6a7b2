"""Changes of models' states, each one step under the registry's lock. Needs no torch.

All raise ConfigError if the model's files cannot be used, and NotPossible if its state does not allow the change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.predictor.registry import model_files, state_file, states
from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import Book, Order

Steps = tuple[Book, Book]
"""The states before and after a change."""
Transition = Callable[[Path, str, Order], Steps]


def add(
    models_dir: Path,
    last_day: str,
    description: Mapping[str, Any],
    weights: bytes,
    pictures: Mapping[str, bytes],
    order: Order,
) -> str:
    """The version of the new candidate, or of the same model if it exists already."""
    made: list[str] = []

    def step(book: Book) -> Book:
        made.append(model_files.put(models_dir, last_day, description, weights, pictures))
        return states.made(book, made[0], order)

    state_file.change(models_dir, step)
    return made[0]


def shadow(models_dir: Path, version: str, order: Order) -> Steps:
    def step(book: Book) -> Book:
        model_files.get(models_dir, version)
        return states.shadowed(book, version, order)

    return state_file.change(models_dir, step, order.request)


def promote(models_dir: Path, version: str, order: Order, verdict: Verdict | None) -> Steps:
    """`verdict`: the gate's, which must have passed; None: forces the promotion without the gate."""

    def step(book: Book) -> Book:
        model_files.get(models_dir, version)
        if verdict is None:
            return states.promoted(book, version, order, book.live)
        judged = order._replace(gate=verdict.model_dump(mode="json"), why=order.why or verdict.why)
        return states.promoted(book, version, judged, verdict.against)

    return state_file.change(models_dir, step, order.request)


def roll_back(models_dir: Path, order: Order) -> Steps:
    def step(book: Book) -> Book:
        after = states.rolled_back(book, order)
        model_files.get(models_dir, str(after.live))
        return after

    return state_file.change(models_dir, step, order.request)


def retire(models_dir: Path, version: str, order: Order) -> Steps:
    return state_file.change(models_dir, lambda book: states.retired(book, version, order), order.request)


def delete(models_dir: Path, version: str, order: Order) -> Steps:
    def step(book: Book) -> Book:
        after = states.deleted(book, version, order)
        if model_files.there(models_dir, version):
            model_files.remove(models_dir, version)
        return after

    return state_file.change(models_dir, step, order.request)
