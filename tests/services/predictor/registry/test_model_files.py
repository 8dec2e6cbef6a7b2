"""Model files are read unchanged, or refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from services.predictor.registry import model_files, state_file
from services.predictor.registry.model_files import FORMAT, MODEL, WEIGHTS
from services.predictor.registry.state_file import LOCK, STATES
from shared.errors import ConfigError
from tests.services.predictor.registry.forged_models import forge_model
from tests.services.predictor.registry.programs import LIMIT_S, start_program
from tests.services.predictor.small_models import png, registry_at, save_model
from tests.waiting import wait_until


def test_the_registry_contains_no_other_files(tmp_path: Path) -> None:
    version = save_model(tmp_path, pictures={"reliability": png()})
    save_model(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {version, LOCK, STATES}
    assert {path.name for path in (tmp_path / version).iterdir()} == {MODEL, WEIGHTS, "reliability.png"}


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    weights = tmp_path / version / WEIGHTS
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)

    with pytest.raises(ConfigError, match=r"weights\.safetensors is damaged.*train again"):
        registry_at(tmp_path).load(version)


@pytest.mark.parametrize("size", [0, 7, 100])
def test_weights_cut_short_are_refused(tmp_path: Path, size: int) -> None:
    version = save_model(tmp_path)
    weights = tmp_path / version / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:size])

    with pytest.raises(ConfigError, match="is damaged"):
        registry_at(tmp_path).load(version)


def test_an_edited_description_is_refused(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    file = tmp_path / version / MODEL
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 2'))

    with pytest.raises(ConfigError, match=r"model\.json was changed"):
        registry_at(tmp_path).load(version)


@pytest.mark.parametrize("body", ["", "[]", "{}", "3", '{"format": "something-else/3"}', "\x00\x01", "[" * 100_000])
def test_a_foreign_file_is_refused(tmp_path: Path, body: str) -> None:
    version = save_model(tmp_path)
    (tmp_path / version / MODEL).write_text(body)

    with pytest.raises(ConfigError, match=r"model\.json is (damaged|not a Headrace model).*train"):
        registry_at(tmp_path).load(version)


def test_a_model_of_an_older_version_is_refused(tmp_path: Path) -> None:
    version = forge_model(tmp_path, save_model(tmp_path), format="headrace-model/1")

    with pytest.raises(ConfigError, match=r"made by an older version.*train again"):
        registry_at(tmp_path).load(version)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_pickled_weights_are_refused_and_not_executed(tmp_path: Path, how: str) -> None:
    marker, file = tmp_path / "sprung", tmp_path / "trap"
    if how == "pickle":
        file.write_bytes(pickle.dumps(Trap(marker)))
    else:
        torch.save({"weight": Trap(marker)}, file)
    models = tmp_path / "models"
    version = forge_model(models, save_model(models), file.read_bytes())

    with pytest.raises(ConfigError, match=r"is a pickle.*train again"):
        registry_at(models).load(version)

    assert not marker.exists()


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    with (tmp_path / version / WEIGHTS).open("r+b") as file:
        file.truncate(model_files.MAX_WEIGHTS_BYTES + 1)  # a sparse file

    with pytest.raises(ConfigError, match="is too big"):
        registry_at(tmp_path).load(version)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    (tmp_path / version / WEIGHTS).unlink()
    (tmp_path / version / WEIGHTS).symlink_to("/dev/zero")

    with pytest.raises(ConfigError, match="is not a regular file"):
        registry_at(tmp_path).load(version)


@pytest.mark.parametrize("version", ["../../etc/passwd", "", "20310430-0a1b2c3d", "20310430-0a1b2c3d/../x"])
def test_an_invalid_version_is_refused(tmp_path: Path, version: str) -> None:
    save_model(tmp_path)

    with pytest.raises(ConfigError):
        registry_at(tmp_path).load(version)


def test_a_damaged_model_is_replaced_when_it_is_saved_again(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    (tmp_path / version / WEIGHTS).write_bytes(b"")

    save_model(tmp_path)

    assert registry_at(tmp_path).load(version).version == version


@pytest.mark.parametrize("name", ["../x", "Bad", "", "a.b"])
def test_a_picture_has_a_plain_name_and_is_a_png(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a picture"):
        save_model(tmp_path, pictures={name: png()})
    with pytest.raises(ConfigError, match="is not a picture"):
        save_model(tmp_path, pictures={"curve": b"<script>"})


def test_pictures_are_read_by_name(tmp_path: Path) -> None:
    version = save_model(tmp_path, pictures={"reliability": png()})

    assert model_files.pictures(tmp_path, version) == ["reliability"]
    assert model_files.picture(tmp_path, version, "reliability") == png()
    assert model_files.picture(tmp_path, version, "model") is None
    assert registry_at(tmp_path).load(version).version == version


SAVING = """
    import os
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.states import ChangeRequest
    print("ready", flush=True)
    for seed in range(10_000):
        label = {"last_day": "2031-04-30", "seed": seed}
        order = ChangeRequest(datetime.now(UTC), "alice")
        print(transitions.add(Path(sys.argv[1]), "2031-04-30", label, os.urandom(4_000_000), {}, order), flush=True)
"""


def test_a_process_that_is_killed_while_it_saves_leaves_only_complete_models(tmp_path: Path) -> None:
    """Killed several times at different moments; every version that it reported is there."""
    models = tmp_path / "models"
    for kills in range(5):
        process = start_program(SAVING, models)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        reported = [process.stdout.readline().decode().strip() for _ in range(kills + 1)]
        wait_until(lambda: any(models.glob(f"{model_files._TEMPORARY}*/{WEIGHTS}")))
        process.kill()
        process.communicate(timeout=LIMIT_S)

        assert set(reported) <= set(model_files.versions(models))
        for version in model_files.versions(models):
            assert model_files.get(models, version).version == version
        assert set(state_file.read(models).states) <= set(model_files.versions(models))

    version = save_model(models, seed=99)
    assert not list(models.glob(f"{model_files._TEMPORARY}*"))
    assert orjson.loads((models / version / MODEL).read_bytes())["format"] == FORMAT


def test_a_model_that_was_replaced_on_purpose_is_refused(tmp_path: Path) -> None:
    """Eight digits of a digest can be met by search; the recorded digest cannot."""
    version = save_model(tmp_path)
    (digest,) = state_file.read(tmp_path).digests.values()
    assert len(digest) == 64
    assert version.endswith(digest[:8])
    registry_at(tmp_path).load(version)

    found = digest[:8] + "0" * 56  # what the search of an attacker would compare with
    state_file.change(tmp_path, lambda registry: registry.model_copy(update={"digests": {version: found}}))

    with pytest.raises(ConfigError, match="was replaced"):
        registry_at(tmp_path).load(version)
    with pytest.raises(ConfigError, match="was replaced"):
        save_model(tmp_path)


def test_a_model_of_before_digests_were_recorded_is_read(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    file = tmp_path / STATES
    states = orjson.loads(file.read_bytes())
    del states["digests"]
    file.write_bytes(orjson.dumps(states))

    assert registry_at(tmp_path).load(version)
    save_model(tmp_path)
    assert list(state_file.read(tmp_path).digests) == [version]
