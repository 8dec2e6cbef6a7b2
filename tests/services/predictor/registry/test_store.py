"""Model files: whole, unchanged, or refused; states that several processes change at once."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.model_files import FORMAT, MODEL, WEIGHTS
from services.predictor.registry.state_file import LOCK, STATES
from services.predictor.registry.states import Order
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from tests.services.predictor.shelf import Label, png, shelf_of, shelved, tensors_of
from tests.services.predictor.shelf_orders import order
from tests.shared.runtime.deadline import eventually

LIMIT_S = 60.0


def rewritten(models: Path, version: str, weights: bytes | None = None, **changed: Any) -> str:
    """A model as somebody would forge it who knows the format: every checksum fits what it holds."""
    body = orjson.loads((models / version / MODEL).read_bytes()) | changed
    if weights is not None:
        (models / version / WEIGHTS).write_bytes(weights)
        body["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    content = {name: value for name, value in body.items() if name not in {"version", "last_day"}}
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    forged = f"{version[:8]}-{digest[:8]}"
    (models / version / MODEL).write_bytes(orjson.dumps(body | {"version": forged}))
    (models / version).rename(models / forged)
    return forged


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


def test_a_saved_model_is_a_candidate_and_one_that_is_live_stays_so(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    assert state_file.read(tmp_path).state_of(version) == "candidate"
    transitions.promote(tmp_path, version, order(), None)

    shelved(tmp_path)

    assert state_file.read(tmp_path).live == version


def test_nothing_is_left_beside_the_models(tmp_path: Path) -> None:
    version = shelved(tmp_path, pictures={"reliability": png()})
    shelved(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {version, LOCK, STATES}
    assert {path.name for path in (tmp_path / version).iterdir()} == {MODEL, WEIGHTS, "reliability.png"}


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    weights = tmp_path / version / WEIGHTS
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)

    with pytest.raises(ConfigError, match=r"weights\.safetensors is damaged.*train again"):
        shelf_of(tmp_path).load(version)


@pytest.mark.parametrize("kept", [0, 7, 100])
def test_weights_cut_short_are_refused(tmp_path: Path, kept: int) -> None:
    version = shelved(tmp_path)
    weights = tmp_path / version / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:kept])

    with pytest.raises(ConfigError, match="is damaged"):
        shelf_of(tmp_path).load(version)


def test_an_edited_description_is_refused(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    file = tmp_path / version / MODEL
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 2'))

    with pytest.raises(ConfigError, match=r"model\.json was changed"):
        shelf_of(tmp_path).load(version)


@pytest.mark.parametrize("body", ["", "[]", "{}", "3", '{"format": "something-else/3"}', "\x00\x01", "[" * 100_000])
def test_a_foreign_file_is_refused(tmp_path: Path, body: str) -> None:
    version = shelved(tmp_path)
    (tmp_path / version / MODEL).write_text(body)

    with pytest.raises(ConfigError, match=r"model\.json is (damaged|no model of ours).*train"):
        shelf_of(tmp_path).load(version)


def test_a_model_of_an_older_version_is_refused(tmp_path: Path) -> None:
    version = rewritten(tmp_path, shelved(tmp_path), format="headrace-model/1")

    with pytest.raises(ConfigError, match=r"made by an older version.*train again"):
        shelf_of(tmp_path).load(version)


def test_a_description_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    version = rewritten(tmp_path, shelved(tmp_path), description={"last_day": "2031-04-30", "layers": 3})

    with pytest.raises(ConfigError, match=r"made by another version of Headrace.*train again"):
        shelf_of(tmp_path).load(version)


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self._sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._sprung,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_pickled_weights_are_refused_and_not_executed(tmp_path: Path, how: str) -> None:
    sprung, file = tmp_path / "sprung", tmp_path / "trap"
    if how == "pickle":
        file.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save({"weight": Trap(sprung)}, file)
    models = tmp_path / "models"
    version = rewritten(models, shelved(models), file.read_bytes())

    with pytest.raises(ConfigError, match=r"is a pickle.*train again"):
        shelf_of(models).load(version)

    assert not sprung.exists()


@pytest.mark.parametrize(
    "weights", [b"", b"\xff" * 16, b"\x08\0\0\0\0\0\0\0garbage!", b"protocol 0 pickles begin with any letter"]
)
def test_weights_that_are_none_are_refused(tmp_path: Path, weights: bytes) -> None:
    version = rewritten(tmp_path, shelved(tmp_path), weights)

    with pytest.raises(ConfigError, match=r"are no weights.*train again"):
        shelf_of(tmp_path).load(version)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    import safetensors.torch

    version = rewritten(tmp_path, shelved(tmp_path), safetensors.torch.save({"bias": torch.zeros(2)}))

    with pytest.raises(ConfigError, match="do not fit"):
        shelf_of(tmp_path).load(version)


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    with (tmp_path / version / WEIGHTS).open("r+b") as file:
        file.truncate(model_files.MOST_WEIGHTS_BYTES + 1)  # takes no room on the disk

    with pytest.raises(ConfigError, match="is too big"):
        shelf_of(tmp_path).load(version)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    (tmp_path / version / WEIGHTS).unlink()
    (tmp_path / version / WEIGHTS).symlink_to("/dev/zero")

    with pytest.raises(ConfigError, match="is no ordinary file"):
        shelf_of(tmp_path).load(version)


@pytest.mark.parametrize("version", ["../../etc/passwd", "", "20310430-0a1b2c3d", "20310430-0a1b2c3d/../x"])
def test_what_names_no_model_is_refused(tmp_path: Path, version: str) -> None:
    shelved(tmp_path)

    with pytest.raises(ConfigError):
        shelf_of(tmp_path).load(version)


def test_a_damaged_model_is_replaced_when_it_is_saved_again(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    (tmp_path / version / WEIGHTS).write_bytes(b"")

    shelved(tmp_path)

    assert shelf_of(tmp_path).load(version).version == version


def forced(models: Path, version: str, told: Order) -> transitions.Steps:
    return transitions.promote(models, version, told, None)


@pytest.mark.parametrize("step", [transitions.shadow, forced])
def test_a_model_that_is_damaged_is_not_put_to_use(tmp_path: Path, step: Any) -> None:
    version = shelved(tmp_path)
    (tmp_path / version / WEIGHTS).write_bytes(b"")

    with pytest.raises(ConfigError, match="is damaged"):
        step(tmp_path, version, order())

    assert state_file.read(tmp_path).state_of(version) == "candidate"


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


def test_every_change_can_be_seen_by_its_time_alone(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    seen = [state_file.changed_ns(tmp_path)]
    for step in [transitions.shadow, transitions.retire] * 10:
        step(tmp_path, version, order())
        seen.append(state_file.changed_ns(tmp_path))

    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen, key=lambda each: each or 0)


def test_rolling_back_brings_the_model_before_back_in_one_call(tmp_path: Path) -> None:
    first, second = shelved(tmp_path, 1), shelved(tmp_path, 2)
    transitions.promote(tmp_path, first, order(), None)
    transitions.promote(tmp_path, second, order(), None)

    transitions.roll_back(tmp_path, order())

    book = state_file.read(tmp_path)
    assert (book.live, book.state_of(second)) == (first, "retired")
    live = shelf_of(tmp_path).live()
    assert live is not None
    assert live.version == first


def test_one_does_not_roll_back_to_a_model_that_is_gone(tmp_path: Path) -> None:
    first, second = shelved(tmp_path, 1), shelved(tmp_path, 2)
    transitions.promote(tmp_path, first, order(), None)
    transitions.promote(tmp_path, second, order(), None)
    (tmp_path / first / MODEL).unlink()

    with pytest.raises(ConfigError, match="cannot read"):
        transitions.roll_back(tmp_path, order())

    assert state_file.read(tmp_path).live == second


def test_a_request_that_is_repeated_changes_nothing_twice(tmp_path: Path) -> None:
    versions = [shelved(tmp_path, seed) for seed in (1, 2, 3)]
    for version in versions:
        transitions.promote(tmp_path, version, order(), None)

    transitions.roll_back(tmp_path, order(request="once"))
    transitions.roll_back(tmp_path, order(request="once"))

    assert state_file.read(tmp_path).live == versions[1]


def test_a_deleted_model_is_gone_and_one_in_use_is_not_deleted(tmp_path: Path) -> None:
    live, other = shelved(tmp_path, 1), shelved(tmp_path, 2)
    transitions.promote(tmp_path, live, order(), None)

    transitions.delete(tmp_path, other, order())
    with pytest.raises(NotPossible, match="is in use"):
        transitions.delete(tmp_path, live, order())

    assert model_files.versions(tmp_path) == [live]


@pytest.mark.parametrize("body", ["{", "[]", '{"format": "headrace-states/9"}', '{"states": {"x": "alive"}}'])
def test_damaged_states_are_refused_with_what_to_do(tmp_path: Path, body: str) -> None:
    shelved(tmp_path)
    (tmp_path / STATES).write_text(body)

    with pytest.raises(ConfigError, match=r"is damaged, or of another version.*promote a model"):
        state_file.has_live(tmp_path)


def test_a_pointer_of_an_older_version_is_not_followed(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    (tmp_path / "LIVE").write_text(f"{version}\n")

    assert not state_file.has_live(tmp_path)


@pytest.mark.parametrize("name", ["../x", "Bad", "", "a.b"])
def test_a_picture_has_a_plain_name_and_is_a_png(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no picture"):
        shelved(tmp_path, pictures={name: png()})
    with pytest.raises(ConfigError, match="is no picture"):
        shelved(tmp_path, pictures={"curve": b"<script>"})


def test_pictures_are_read_by_name(tmp_path: Path) -> None:
    version = shelved(tmp_path, pictures={"reliability": png()})

    assert model_files.pictures(tmp_path, version) == ["reliability"]
    assert model_files.picture(tmp_path, version, "reliability") == png()
    assert model_files.picture(tmp_path, version, "model") is None
    assert shelf_of(tmp_path).load(version).version == version


def started(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def together(processes: list[subprocess.Popen[bytes]]) -> list[str]:
    """What they said after they all were ready and were let go at once."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=LIMIT_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return [out.decode() for out, _ in said]


PROMOTING = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.states import Order
    from shared.ops.operations import NotPossible
    assert "torch" not in sys.modules
    models, version = Path(sys.argv[1]), sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(40):
        order = Order(datetime.now(UTC), version)
        try:
            transitions.shadow(models, version, order)
            transitions.promote(models, version, order, None)
        except NotPossible:  # it is live, or was retired between the two
            continue
"""


def test_processes_that_promote_at_once_lose_no_change_and_leave_one_live(tmp_path: Path) -> None:
    versions = [shelved(tmp_path, seed) for seed in (1, 2)]

    together([started(PROMOTING, tmp_path, version) for version in versions])

    book = state_file.read(tmp_path)
    assert book.live in versions
    lives = [change for change in book.history if change.after == "live"]
    assert {change.who for change in lives} == set(versions)
    found: dict[str, str | None] = {}
    for change in book.history:  # each step began where the one before had ended, whoever made it
        assert found.get(change.version) == change.before
        found[change.version] = change.after


JUDGED_ONCE = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.gate import Verdict
    from services.predictor.registry.states import Order
    from shared.ops.operations import NotPossible
    models, against, version = sys.argv[1:]
    verdict = Verdict(passed=True, decided=True, why="better", against=against, source="a test", figures={})
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        transitions.promote(Path(models), version, Order(datetime.now(UTC), "somebody"), verdict)
    except NotPossible as error:
        print(error)
"""


def test_of_two_that_were_judged_against_the_same_live_model_one_goes_live(tmp_path: Path) -> None:
    live, *others = (shelved(tmp_path, seed) for seed in (1, 2, 3))
    transitions.promote(tmp_path, live, order(), None)
    said = together([started(JUDGED_ONCE, tmp_path, live, version) for version in others])

    assert sorted("promote it again" in each for each in said) == [False, True]
    book = state_file.read(tmp_path)
    assert book.live in others
    assert book.former == (live,)


SAVING = """
    import os
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.states import Order
    print("ready", flush=True)
    for seed in range(10_000):
        label = {"last_day": "2031-04-30", "seed": seed}
        order = Order(datetime.now(UTC), "somebody")
        print(transitions.add(Path(sys.argv[1]), "2031-04-30", label, os.urandom(4_000_000), {}, order), flush=True)
"""


def test_a_process_that_is_killed_while_it_saves_leaves_whole_models_only(tmp_path: Path) -> None:
    """Several times, at moments that differ; what it had reported as saved is there."""
    models = tmp_path / "models"
    for kills in range(5):
        process = started(SAVING, models)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        reported = [process.stdout.readline().decode().strip() for _ in range(kills + 1)]
        eventually(lambda: any(models.glob(f"{model_files._MAKING}*/{WEIGHTS}")))
        process.kill()
        process.communicate(timeout=LIMIT_S)

        assert set(reported) <= set(model_files.versions(models))
        for version in model_files.versions(models):
            assert model_files.get(models, version).version == version
        assert set(state_file.read(models).states) <= set(model_files.versions(models))

    version = shelved(models, seed=99)
    assert not list(models.glob(f"{model_files._MAKING}*"))
    assert orjson.loads((models / version / MODEL).read_bytes())["format"] == FORMAT
