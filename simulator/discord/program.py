"""The program `headrace simulate --discord`: a Discord of its own to try the bot with, and a page in the browser."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from simulator.discord.fake import FakeDiscord

TOKEN_FILE = "discord-bot-token"  # noqa: S105 - the name of a file
API_TOKEN_FILE = "api-token"  # noqa: S105  # a name
DEFAULT_PORT = 8650
# In the default data directory of `headrace run`, because the token for the services is valid for its database only.
DEFAULT_FOLDER = Path(".headrace/discord")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "headrace simulate --discord",
        description="Simulate Discord on this machine: its API for a notifier, and a page on which you are its people.",
    )
    parser.add_argument("--discord", action="store_true", help="simulate Discord instead of the source")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 picks a free port (default: %(default)s)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=DEFAULT_FOLDER,
        help="folder for the files with the bot's tokens, which are the same after each start (default: %(default)s)",
    )
    parser.add_argument("--no-rate-limits", action="store_true", help="accept requests at any rate")
    return parser


def run(options: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    chosen = arguments().parse_args(options)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    file = chosen.folder / TOKEN_FILE
    try:
        token = _token_in(file)
    except (OSError, ValueError) as error:
        print(f"simulator: cannot use {file}: {error}", file=sys.stderr)
        return 2
    fake = FakeDiscord(chosen.port, token, rate_limits=not chosen.no_rate_limits)
    try:
        fake.server.start()
    except OSError as error:
        where = f"port {chosen.port} of 127.0.0.1"
        print(f"simulator: cannot listen on {where} ({error.strerror}); use --port 0", file=sys.stderr)
        return 2
    print("\n".join(announcement(fake, file)), flush=True)
    stop.wait()
    fake.server.stop()
    return 0


def announcement(fake: FakeDiscord, token_file: Path) -> list[str]:
    """What the program prints: the page's address and the settings of a notifier, as lines for a shell."""
    guild = fake.simulation.state.guild
    roles = f"{guild.role_named('operator').id}=operate,{guild.role_named('reader').id}=read"
    settings = {
        "CHANNELS": "console,discord-bot",
        "BOT_TOKEN_FILE": str(token_file.absolute()),
        "DISCORD_BASE_URL": fake.api_url,
        "DISCORD_GATEWAY_URL": fake.gateway_url,
        "BOT_GUILD_ID": str(guild.id),
        "BOT_ROLES": roles,
        "BOT_CHANNEL": str(guild.channel_named("races").id),
        "BOT_BOARD_CHANNEL": str(guild.channel_named("status-board").id),
    }
    channels = ", ".join(f"{each.name} {each.id}" for each in guild.channels.values() if each.person is None)
    return [
        f"simulated Discord: {fake.url}",
        "It is a simulation: nothing leaves this machine. Open the page and be one of its people.",
        f"channels (for rules): {channels}",
        "To connect a notifier, run these lines in another shell, and then `headrace run` there:",
        *(_export(name, value) for name, value in settings.items()),
        *_api_token_lines(token_file.absolute().with_name(API_TOKEN_FILE)),
    ]


def _api_token_lines(file: Path) -> list[str]:
    """The lines that make the token for commands that change something, unless an earlier start has left it."""
    export = _export("BOT_API_TOKEN_FILE", str(file))
    if file.is_file() and file.stat().st_size:
        return [export]
    create = f"headrace token create bot --scope operate --delegate > {shlex.quote(str(file))}"
    return ["headrace migrate", f"(umask 077; {create})", export]


def _export(name: str, value: str) -> str:
    return f"export HEADRACE_NOTIFIER__{name}={shlex.quote(value)}"


def _token_in(file: Path) -> str:
    """The token in the file, which is created for this user only. Raises OSError, and ValueError for an empty file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        token = file.read_text(encoding="utf-8").strip()
        if not token:
            raise ValueError("it is empty; delete it") from None
        return token
    token = f"{secrets.token_urlsafe(18)}.Simula.{secrets.token_urlsafe(28)}"
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(token + "\n")
    return token
