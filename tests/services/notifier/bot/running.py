"""Runs a bot in a thread, against a simulated Discord and a real database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import make_conninfo

from services.notifier.bot.assembly import BUTTONS, COMMANDS
from services.notifier.bot.bot import BotConfig, DiscordBot, Task
from services.notifier.bot.channel import BotChannel
from services.notifier.bot.link import BotLink
from services.notifier.settings import PersonScope
from shared.clock import Clock, SystemClock
from shared.runtime.metrics import Metrics
from simulator.discord.fake import FakeDiscord

RULES = ("tip", "big-payout", "daily", "stage-down")


@dataclass
class RunningBot:
    """`logins`: whether Discord accepted the token, for each login. `blocked`: persons who refused messages."""

    link: BotLink
    channel: BotChannel
    token_file: Path
    logins: list[bool] = field(default_factory=list)
    blocked: list[int] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def measured(self, name: str, **labels: str) -> float:
        """The value of a metric of the bot; 0 if there is none yet."""
        return self.metrics.registry.get_sample_value(f"headrace_bot_{name}", labels) or 0.0


@contextmanager
def running_bot(
    fake: FakeDiscord,
    database_url: str,
    folder: Path,
    *,
    replica: str = "notifier-a",
    roles: Mapping[int, PersonScope] | None = None,
    api_token_file: Path | None = None,
    clock: Clock | None = None,
    tasks: Sequence[Task] = (),
    token: str | None = None,
    metrics: Metrics | None = None,
) -> Iterator[RunningBot]:
    """A bot that is told to stop at the end; its thread must then end."""
    token_file = folder / f"{replica}-token"
    token_file.write_text(token or fake.token)
    link = BotLink()
    blocked: list[int] = []
    running = RunningBot(
        link, BotChannel(link, blocked.append), token_file, blocked=blocked, metrics=metrics or Metrics()
    )
    config = BotConfig(token_file, fake.guild_id, roles or {}, api_token_file, fake.api_url, fake.gateway_url, replica)
    # As in production, the bot has only the rights of its service.
    conninfo = make_conninfo(database_url, options="-c role=headrace_notifier")
    bot = DiscordBot(
        config, conninfo, clock or SystemClock(), link, COMMANDS, BUTTONS, tasks, lambda: RULES,
        running.logins.append, running.metrics,
    )  # fmt: skip
    stop = threading.Event()
    thread = threading.Thread(target=bot.run, args=(stop,), name=f"bot {replica}")
    thread.start()
    try:
        yield running
    finally:
        stop.set()
        thread.join()
