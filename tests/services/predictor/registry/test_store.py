"""Models with tensors: read back the same, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.model_files import WEIGHTS
from shared.errors import ConfigError
from tests.services.predictor.registry.forged import rewritten
from tests.services.predictor.shelf import Label, shelf_of, shelved, tensors_of
from tests.services.predictor.shelf_orders import order


def test_a_saved_model_is_read_back_the_same(tmp_path: Path) -> None:
    version = shelved(tmp_path, seed=3)

    read = shelf_of(tmp_path).load(version)

    assert read.label == Label(seed=3)
    assert torch.equal(read.tensors["weight"], tensors_of(3)["weight"])


def test_the_same_model_is_the_same_version_and_any_other_is_another(tmp_path: Path) -> None:
    version = shelved(tmp_path, seed=3)

    assert shelved(tmp_path, seed=3) == version
    assert version.startswith("20310430-")
    assert len({version, shelved(tmp_path, seed=4), shelved(tmp_path, seed=3, last_day="2031-04-29")}) == 3


def test_tensors_that_share_their_memory_are_saved_as_they_are(tmp_path: Path) -> None:
    whole = tensors_of(3)["weight"]
    tensors = {"weight": whole.T, "part": whole[:, 2:4], "same": whole}

    version = shelf_of(tmp_path).save(Label(), "2031-04-30", tensors, order())

    read = shelf_of(tmp_path).load(version).tensors
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_a_description_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    version = rewritten(tmp_path, shelved(tmp_path), description={"last_day": "2031-04-30", "layers": 3})

    with pytest.raises(ConfigError, match=r"made by another version of Headrace.*train again"):
        shelf_of(tmp_path).load(version)


@pytest.mark.parametrize(
    "weights", [b"", b"\xff" * 16, b"\x08\0\0\0\0\0\0\0garbage!", b"protocol 0 pickles begin with any letter"]
)
def test_weights_that_are_none_are_refused(tmp_path: Path, weights: bytes) -> None:
    version = rewritten(tmp_path, shelved(tmp_path), weights)

    with pytest.raises(ConfigError, match=r"valid weights.*train again"):
        shelf_of(tmp_path).load(version)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    version = rewritten(tmp_path, shelved(tmp_path), safetensors.torch.save({"bias": torch.zeros(2)}))

    with pytest.raises(ConfigError, match="do not fit"):
        shelf_of(tmp_path).load(version)


def test_a_damaged_shadow_is_told_and_keeps_no_other_from_running(tmp_path: Path) -> None:
    whole, damaged = shelved(tmp_path, 1), shelved(tmp_path, 2)
    for version in (whole, damaged):
        transitions.shadow(tmp_path, version, order())
    (tmp_path / damaged / WEIGHTS).write_bytes(b"")

    shadows = shelf_of(tmp_path).shadows()

    assert isinstance(shadows[damaged], ConfigError)
    assert getattr(shadows[whole], "version", None) == whole


def test_no_model_is_no_error(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path / "absent")

    assert shelf.live() is None
    assert shelf.shadows() == {}
    assert shelf.changed_ns() is None
    assert not state_file.has_live(tmp_path / "absent")
    assert model_files.versions(tmp_path / "absent") == []
