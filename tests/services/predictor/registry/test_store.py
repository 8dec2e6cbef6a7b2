"""Models with tensors are read unchanged, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.model_files import WEIGHTS
from shared.errors import ConfigError
from tests.services.predictor.model_requests import order
from tests.services.predictor.registry.forged_models import forge_model
from tests.services.predictor.small_models import Label, registry_at, save_model, tensors_of


def test_a_saved_model_is_loaded_unchanged(tmp_path: Path) -> None:
    version = save_model(tmp_path, seed=3)

    loaded = registry_at(tmp_path).load(version)

    assert loaded.label == Label(seed=3)
    assert torch.equal(loaded.tensors["weight"], tensors_of(3)["weight"])


def test_equal_models_have_the_same_version_and_others_do_not(tmp_path: Path) -> None:
    version = save_model(tmp_path, seed=3)

    assert save_model(tmp_path, seed=3) == version
    assert version.startswith("20310430-")
    assert len({version, save_model(tmp_path, seed=4), save_model(tmp_path, seed=3, last_day="2031-04-29")}) == 3


def test_tensors_that_share_memory_are_saved_unchanged(tmp_path: Path) -> None:
    whole = tensors_of(3)["weight"]
    tensors = {"weight": whole.T, "part": whole[:, 2:4], "same": whole}

    version = registry_at(tmp_path).save(Label(), "2031-04-30", tensors, order())

    loaded = registry_at(tmp_path).load(version).tensors
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


def test_a_description_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    version = forge_model(tmp_path, save_model(tmp_path), description={"last_day": "2031-04-30", "layers": 3})

    with pytest.raises(ConfigError, match=r"made by another version of Headrace.*train again"):
        registry_at(tmp_path).load(version)


@pytest.mark.parametrize(
    "weights", [b"", b"\xff" * 16, b"\x08\0\0\0\0\0\0\0garbage!", b"protocol 0 pickles begin with any letter"]
)
def test_invalid_weights_are_refused(tmp_path: Path, weights: bytes) -> None:
    version = forge_model(tmp_path, save_model(tmp_path), weights)

    with pytest.raises(ConfigError, match=r"valid weights.*train again"):
        registry_at(tmp_path).load(version)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    version = forge_model(tmp_path, save_model(tmp_path), safetensors.torch.save({"bias": torch.zeros(2)}))

    with pytest.raises(ConfigError, match="do not fit"):
        registry_at(tmp_path).load(version)


def test_a_damaged_shadow_is_reported_and_does_not_affect_others(tmp_path: Path) -> None:
    intact, damaged = save_model(tmp_path, 1), save_model(tmp_path, 2)
    for version in (intact, damaged):
        transitions.shadow(tmp_path, version, order())
    (tmp_path / damaged / WEIGHTS).write_bytes(b"")

    shadows = registry_at(tmp_path).shadows()

    assert isinstance(shadows[damaged], ConfigError)
    assert getattr(shadows[intact], "version", None) == intact


def test_a_missing_registry_is_empty(tmp_path: Path) -> None:
    registry = registry_at(tmp_path / "absent")

    assert registry.live() is None
    assert registry.shadows() == {}
    assert registry.changed_ns() is None
    assert not state_file.has_live(tmp_path / "absent")
    assert model_files.versions(tmp_path / "absent") == []
