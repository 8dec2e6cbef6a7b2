"""The notifier's rules, secrets and bot as an operator sets them up, with a simulated Discord.

The tests run in their order and share the installation.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.containers.engine import Engine
from tests.deploy.containers.installation import START_S, Installation, NewInstallation
from tests.deploy.containers.simulated_discord import SimulatedDiscord
from tests.waiting import wait_until

pytestmark = pytest.mark.engine
RULES_FILE = "/etc/headrace/notifier/rules.yaml"
RULES = """\
channels:
  console: {kind: console}
rules:
  favourites: {finding: tip, threshold: 0.8, to: [console]}
"""


def replace(file: Path, text: str) -> None:
    """Write the file as many editors do: a new file takes the name of the old one."""
    new = file.with_name("new")
    new.write_text(text)
    new.rename(file)


def thresholds(installation: Installation) -> dict[str, float]:
    return {each["name"]: each["threshold"] for each in installation.api("notifier", "/v1/rules")["rules"]}


@pytest.fixture(scope="module")
def installation(new_installation: NewInstallation) -> Iterator[Installation]:
    with new_installation("notifier") as installation:
        installation.override()
        yield installation


@pytest.fixture(scope="module")
def discord(installation: Installation) -> SimulatedDiscord:
    """A running installation with a bot and rules."""
    discord = SimulatedDiscord(installation)
    (installation.deploy / "notifier" / "rules.yaml").write_text(RULES)
    more = {"COMPOSE_PROFILES": "", "HEADRACE_BROKER": "embedded", "HEADRACE_RULES_FILE": RULES_FILE}
    installation.configure(discord.variables | more)
    process = installation.in_background("./up")
    assert process.wait(START_S) == 0, installation.output()
    return discord


def test_deploy_up_makes_the_bots_token_once(installation: Installation, discord: SimulatedDiscord) -> None:
    file = installation.deploy / "secrets" / "notifier" / "bot_api.token"
    token = file.read_text()
    (bot,) = installation.cli_json("token", "list")

    process = installation.in_background("./up")

    assert process.wait(START_S) == 0, installation.output()
    assert (bot["name"], bot["scope"], bot["delegate"]) == ("bot", "operate", True)
    assert (stat.S_IMODE(file.stat().st_mode), file.read_text()) == (0o600, token)
    assert installation.cli_json("token", "list") == [bot]


def test_a_person_pauses_a_service_by_the_bot(installation: Installation, discord: SimulatedDiscord) -> None:
    discord.wait_for_bot()
    discord.send("/pause service:cleaner topic:raw-events reason:test")
    discord.click("Confirm")

    def pauses() -> list[str]:
        return [each["who"] for each in installation.cli_json("trail") if each["action"] == "pause"]

    wait_until(lambda: bool(pauses()), "the pause", poll_s=0.5)
    assert pauses()[0].startswith("token:bot on behalf of discord:")


def test_rules_that_replace_the_file_are_used_without_a_restart(
    installation: Installation, discord: SimulatedDiscord
) -> None:
    before = installation.configurations()["notifier"]["State"]["StartedAt"]
    assert thresholds(installation) == {"favourites": 0.8}

    replace(installation.deploy / "notifier" / "rules.yaml", RULES.replace("0.8", "0.9"))

    wait_until(lambda: thresholds(installation) == {"favourites": 0.9}, "the new rules", poll_s=0.5)
    assert installation.configurations()["notifier"]["State"]["StartedAt"] == before


def test_invalid_rules_are_reported_and_not_used(installation: Installation, discord: SimulatedDiscord) -> None:
    replace(installation.deploy / "notifier" / "rules.yaml", RULES.replace("0.8", "high"))

    wait_until(lambda: installation.api("notifier", "/v1/rules")["error"] is not None, "the error", poll_s=0.5)

    checked = installation.run("run", "--rm", "--no-TTY", "cli", "rules", "check")
    assert thresholds(installation) == {"favourites": 0.9}
    assert checked.returncode == 2
    assert f"{RULES_FILE}:4: rules.favourites.threshold" in checked.stderr


def test_the_notifiers_files_are_read_only_and_its_own(
    engine: Engine, installation: Installation, discord: SimulatedDiscord
) -> None:
    notifier = installation.container("notifier").id

    for folder in ("/run/secrets/notifier", "/etc/headrace/notifier"):
        assert engine.run("exec", notifier, "ls", folder).returncode == 0
        assert engine.run("exec", notifier, "touch", f"{folder}/new").returncode != 0
        assert engine.run("exec", installation.container("cleaner").id, "ls", folder).returncode != 0
