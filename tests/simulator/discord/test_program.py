"""`python -m simulator --discord` as a program."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.processes import killed_at_end

ROOT = Path(__file__).parents[3]


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The settings that the program prints, with `page` and the other `commands`."""
    command = [sys.executable, "-m", "simulator", "--discord", "--port", "0", "--folder", str(folder)]
    with killed_at_end(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)) as process:
        assert process.stdout is not None
        settings = {"commands": ""}
        for line in process.stdout:
            if line.startswith(("headrace", "(")):
                settings["commands"] += line
            if match := re.fullmatch(r"simulated Discord: (\S+)\n", line):
                settings["page"] = match[1]
            if match := re.fullmatch(r"export HEADRACE_NOTIFIER__(\w+)=(\S+)\n", line):
                settings[match[1]] = match[2].strip("'")
            if "BOT_API_TOKEN_FILE" in settings:
                break
        try:
            yield settings
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
    assert process.returncode == 0


def test_it_prints_the_settings_with_which_a_notifier_uses_it(tmp_path: Path) -> None:
    with running(tmp_path) as settings:
        token = Path(settings["BOT_TOKEN_FILE"]).read_text().strip()
        answer = httpx2.get(f"{settings['DISCORD_BASE_URL']}/users/@me", headers={"Authorization": f"Bot {token}"})

        assert answer.status_code == 200
        assert settings["CHANNELS"] == "console,discord-bot"
        assert settings["DISCORD_GATEWAY_URL"] == settings["page"].replace("http", "ws") + "/gateway"
        assert re.fullmatch(r"\d+=operate,\d+=read", settings["BOT_ROLES"])
        assert "Simulation" in httpx2.get(settings["page"]).text


def test_the_token_is_readable_by_its_owner_only_and_ids_stay_the_same(tmp_path: Path) -> None:
    names = ("BOT_GUILD_ID", "BOT_ROLES", "BOT_BOARD_CHANNEL")
    with running(tmp_path / "new") as first:
        file = Path(first["BOT_TOKEN_FILE"])
        token, mode = file.read_text(), stat.S_IMODE(file.stat().st_mode)
    with running(tmp_path / "new") as second:
        assert file.read_text() == token

    assert mode == 0o600
    assert [first[name] for name in names] == [second[name] for name in names]


def test_the_token_for_the_services_is_created_once(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        assert first["commands"].startswith("headrace migrate\n(umask 077; headrace token create bot ")
        assert first["commands"].endswith(f"> {first['BOT_API_TOKEN_FILE']})\n")
    Path(first["BOT_API_TOKEN_FILE"]).write_text("a token")

    with running(tmp_path) as second:
        assert second["commands"] == ""


def test_a_port_in_use_is_explained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken_port:
        port = str(taken_port.getsockname()[1])
        command = [sys.executable, "-m", "simulator", "--discord", "--port", port, "--folder", str(tmp_path)]
        result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)

    assert result.returncode == 2
    assert f"cannot listen on port {port} of 127.0.0.1" in result.stderr
