"""A simulated Discord beside the notifier of an installation.

It shares the notifier's network, because a bot's token is sent without encryption only to the same machine.
"""

from __future__ import annotations

import json
import secrets
import warnings
from typing import Any

from tests.deploy.containers.installation import OVERRIDE, Installation
from tests.waiting import wait_until

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from simulator.discord.default_guild import default_guild
    from simulator.discord.program import DEFAULT_PORT, TOKEN_FILE

FILE = "discord-test.yml"
OPERATOR = "Ana Operator"
_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
_CONTAINER = f"""\
services:
  notifier:
    environment:
      HEADRACE_NOTIFIER__DISCORD_BASE_URL: http://{_ADDRESS}/api/v10
      HEADRACE_NOTIFIER__DISCORD_GATEWAY_URL: ws://{_ADDRESS}/gateway
  discord:
    image: headrace/simulator:${{HEADRACE_VERSION}}
    user: ${{HEADRACE_UID}}:${{HEADRACE_GID}}
    command: [python, -m, simulator, --discord, --folder, /discord]
    network_mode: service:notifier
    volumes: ["./secrets/notifier:/discord:ro"]
    healthcheck:
      test: [CMD, python, -c, "import urllib.request as u; u.urlopen('http://{_ADDRESS}/', timeout=3)"]
      interval: 5s
"""
# Sends a request to the URL of the first argument, with the second one as its body, and prints the answer.
_REQUEST = """\
import sys, urllib.request
url, *body = sys.argv[1:]
request = urllib.request.Request(url, *(each.encode() for each in body), headers={"Content-Type": "application/json"})
print(urllib.request.urlopen(request).read().decode())
"""


class SimulatedDiscord:
    """`variables`: those of deploy/.env with which the notifier is its bot."""

    def __init__(self, installation: Installation) -> None:
        """Write the compose file of the simulation, and the bot's token as an operator does."""
        self._installation = installation
        self._guild = default_guild()
        (installation.deploy / FILE).write_text(_CONTAINER)
        folder = installation.deploy / "secrets" / "notifier"
        folder.mkdir(parents=True, exist_ok=True)
        token = f"{secrets.token_urlsafe(18)}.Simula.{secrets.token_urlsafe(28)}"
        for name in ("bot.token", TOKEN_FILE):
            (folder / name).write_text(f"{token}\n")
        self.variables = {
            "COMPOSE_FILE": f"docker-compose.yml:{OVERRIDE}:{FILE}",
            "HEADRACE_CHANNELS": "console,discord-bot",
            "HEADRACE_BOT_GUILD_ID": str(self._guild.id),
            "HEADRACE_BOT_CHANNEL": str(self._guild.channel_named("races").id),
            "HEADRACE_BOT_ROLES": f"{self._guild.role_named('operator').id}=operate",
        }

    def wait_for_bot(self) -> None:
        """Wait until the bot is connected and has published its commands."""
        wait_until(lambda: self._request("/fake/overview")["bot"]["connected"], "the bot", poll_s=0.5)
        wait_until(lambda: bool(self._view("operations")["commands"]), "its commands", poll_s=0.5)

    def send(self, line: str) -> None:
        """Send a command as the operator."""
        body = {"person": str(self._person), "channel": str(self._channel("operations")), "line": line}
        self._request("/fake/lines", body)

    def click(self, label: str) -> None:
        """Wait for a message with this button and click it, as the operator."""

        def buttons() -> list[tuple[str, str]]:
            return [
                (message["id"], button["custom_id"])
                for message in self._view("operations")["messages"]
                for row in message["components"]
                for button in row["components"]
                if button.get("label") == label
            ]

        wait_until(lambda: bool(buttons()), f"a button {label}", poll_s=0.5)
        message, button = buttons()[-1]
        self._request("/fake/components", {"person": str(self._person), "message": message, "custom_id": button})

    @property
    def _person(self) -> int:
        return next(each.id for each in self._guild.people.values() if each.name == OPERATOR)

    def _channel(self, name: str) -> int:
        return self._guild.channel_named(name).id

    def _view(self, channel: str) -> dict[str, Any]:
        view: dict[str, Any] = self._request(f"/fake/channels/{self._channel(channel)}?person={self._person}")
        return view

    def _request(self, path: str, body: dict[str, str] | None = None) -> Any:
        command = ["exec", "--no-TTY", "discord", "python", "-c", _REQUEST, f"http://{_ADDRESS}{path}"]
        return json.loads(self._installation.compose(*command, *([] if body is None else [json.dumps(body)])))
