"""Model files: whole, unchanged, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.predictor.registry import LIVE, MODEL, WEIGHTS, Registry
from shared.errors import ConfigError
from tests.services.predictor.conftest import Schooled


@pytest.fixture
def models(schooled: Schooled, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(schooled.directory, tmp_path / "models")


@pytest.fixture
def version(schooled: Schooled) -> str:
    return str(schooled.report["version"])


def test_a_saved_model_is_read_back_the_same(models: Path, version: str) -> None:
    trained = Registry(models).load(version)

    assert Registry(models).save(trained.description, trained.network) == version


def test_a_version_names_the_last_day_of_its_data(schooled: Schooled, version: str) -> None:
    assert version.startswith(schooled.report["last_day"].replace("-", ""))


def test_nothing_is_left_beside_the_models(models: Path, version: str) -> None:
    trained = Registry(models).load(version)
    Registry(models).save(trained.description, trained.network)

    assert {path.name for path in models.iterdir()} == {version, LIVE}


def test_damaged_weights_are_refused(models: Path, version: str) -> None:
    weights = models / version / WEIGHTS
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)

    with pytest.raises(ConfigError, match=r"weights\.safetensors is damaged"):
        Registry(models).live()


def test_weights_cut_short_are_refused(models: Path, version: str) -> None:
    weights = models / version / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:100])

    with pytest.raises(ConfigError, match="is damaged"):
        Registry(models).live()


def test_an_edited_description_is_refused(models: Path, version: str) -> None:
    file = models / version / MODEL
    file.write_text(file.read_text().replace('"temperature": ', '"temperature": 1'))

    with pytest.raises(ConfigError, match=r"model\.json was changed"):
        Registry(models).live()


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"format": "something-else/3"}', "\x00\x01"])
def test_a_foreign_file_is_refused(models: Path, version: str, body: str) -> None:
    (models / version / MODEL).write_text(body)

    with pytest.raises(ConfigError, match=r"model\.json is (damaged|no model of ours)"):
        Registry(models).live()


def test_a_damaged_model_is_replaced_when_it_is_saved_again(models: Path, version: str) -> None:
    trained = Registry(models).load(version)
    (models / version / WEIGHTS).write_bytes(b"")

    Registry(models).save(trained.description, trained.network)

    assert Registry(models).load(version).version == version


@pytest.mark.parametrize("pointer", ["../../etc/passwd", "", "20260131-0a1b2c3d", "20260131-0a1b2c3d/../x"])
def test_a_pointer_to_no_model_is_refused(models: Path, pointer: str) -> None:
    (models / LIVE).write_text(pointer)

    with pytest.raises(ConfigError):
        Registry(models).live()


def test_a_model_that_does_not_load_cannot_go_live(models: Path, version: str) -> None:
    with pytest.raises(ConfigError):
        Registry(models).set_live("20260131-0a1b2c3d")

    assert (models / LIVE).read_text().strip() == version


def test_no_model_is_no_error(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "absent")

    assert registry.live() is None
    assert registry.live_changed_ns() is None
