"""The images as they are built: what is in them."""

from __future__ import annotations

import json

import pytest

from shared.topics import SERVICES
from tests.deploy.containers.engine import Engine

pytestmark = pytest.mark.engine
BUILT = (*SERVICES, "migrate", "simulator")


def run_in(engine: Engine, image: str, *command: str) -> tuple[int, str]:
    """Exit code and output of a command in a new container."""
    options = ["--rm", "--network=none", f"--entrypoint={command[0]}", image]
    process = engine.run("run", *options, *command[1:])
    return process.returncode, process.stdout + process.stderr


def test_every_image_is_built(images: dict[str, str]) -> None:
    assert sorted(images) == sorted(BUILT)


@pytest.mark.parametrize("name", BUILT)
def test_an_image_contains_no_pip(engine: Engine, images: dict[str, str], name: str) -> None:
    code, output = run_in(engine, images[name], "python", "-c", "import pip")

    assert code == 1
    assert "No module named 'pip'" in output


@pytest.mark.parametrize("name", BUILT)
def test_an_image_lists_its_packages(engine: Engine, images: dict[str, str], name: str) -> None:
    _, text = run_in(engine, images[name], "cat", "/opt/headrace/sbom.cdx.json")
    listed = json.loads(text)
    packages = {each["name"] for each in listed["components"]}

    assert listed["metadata"]["component"]["name"] == "headrace"
    assert "pydantic" in packages
    assert ("torch" in packages) == (name == "predictor")
