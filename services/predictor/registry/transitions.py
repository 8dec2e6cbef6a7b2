"""Changes the states of models. Each function is one atomic change under the registry's lock; none needs torch.

All raise ConfigError if the model's files cannot be used, and NotPossible if its state does not allow the change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.predictor.registry import model_files, state_file, states
from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import ChangeRequest, RegistryState

BeforeAndAfter = tuple[RegistryState, RegistryState]
"""The states before and after a change."""
Transition = Callable[[Path, str, ChangeRequest], BeforeAndAfter]


def add(
    models_dir: Path,
    last_day: str,
    description: Mapping[str, Any],
    weights: bytes,
    pictures: Mapping[str, bytes],
    change_request: ChangeRequest,
) -> str:
    """The version of the new candidate, or of the same model if it exists already."""
    versions: list[str] = []

    def step(registry: RegistryState) -> RegistryState:
        version = model_files.put(models_dir, last_day, description, weights, pictures)
        digest = registry.digests.get(version) or model_files.digest_of(model_files.body_of(models_dir, version))
        model_files.get(models_dir, version, digest)
        versions.append(version)
        return states.add_candidate(registry, version, change_request, digest)

    state_file.change(models_dir, step)
    return versions[0]


def _check(models_dir: Path, registry: RegistryState, version: str) -> None:
    model_files.get(models_dir, version, registry.digests.get(version))


def shadow(models_dir: Path, version: str, change_request: ChangeRequest) -> BeforeAndAfter:
    def step(registry: RegistryState) -> RegistryState:
        _check(models_dir, registry, version)
        return states.start_shadow(registry, version, change_request)

    return state_file.change(models_dir, step, change_request.request)


def promote(models_dir: Path, version: str, change_request: ChangeRequest, verdict: Verdict | None) -> BeforeAndAfter:
    """`verdict`: that of the gate, which the model has passed; None: promote without the gate."""

    def step(registry: RegistryState) -> RegistryState:
        _check(models_dir, registry, version)
        if verdict is None:
            return states.promote(registry, version, change_request, registry.live)
        with_verdict = change_request._replace(
            gate=verdict.model_dump(mode="json"), why=change_request.why or verdict.why
        )
        return states.promote(registry, version, with_verdict, verdict.against)

    return state_file.change(models_dir, step, change_request.request)


def roll_back(models_dir: Path, change_request: ChangeRequest) -> BeforeAndAfter:
    def step(registry: RegistryState) -> RegistryState:
        after = states.roll_back(registry, change_request)
        _check(models_dir, registry, str(after.live))
        return after

    return state_file.change(models_dir, step, change_request.request)


def retire(models_dir: Path, version: str, change_request: ChangeRequest) -> BeforeAndAfter:
    return state_file.change(
        models_dir, lambda registry: states.retire(registry, version, change_request), change_request.request
    )


def delete(models_dir: Path, version: str, change_request: ChangeRequest) -> BeforeAndAfter:
    def step(registry: RegistryState) -> RegistryState:
        after = states.delete(registry, version, change_request)
        if model_files.exists(models_dir, version):
            model_files.remove(models_dir, version)
        return after

    return state_file.change(models_dir, step, change_request.request)
