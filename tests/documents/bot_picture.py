"""Draws discord-bot.png: the page of a simulated Discord while people use the bot of a pipeline that really runs.

The source, its day and its clock are always the same. The times of messages and of the alert are those of the machine.
Needs Chromium and a font with kana for the names (Debian: chromium fonts-inter fonts-noto-cjk).
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from rich.console import Console

from headrace.progress.frame import Phase
from headrace.progress.positions import HOPS, Reading
from headrace.progress.view import LineView
from headrace.run.demonstration import JST, LIVE, next_day
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.outcome import SOURCE
from headrace.run.programs import common_environment, python
from headrace.run.run_environment import RunEnvironment, prepared_environment
from headrace.run.session import Session
from headrace.run.simulation import Simulation, free_port, simulator_program
from services.notifier.bot.commands.events import MARKET
from services.notifier.storage.postgres_cards import coming_events, read_cards
from shared.database.connection import DbConnection
from shared.settings.sections import Settings
from simulator.discord.fake import FakeDiscord
from simulator.discord.messages import PostedMessage
from tests.simulator.discord.browser import VARIABLE, Browser, chromium

CHANNEL = "operations"
WIDTH, HEIGHT, SCALE = 1200, 900, 1.5
# A third of the size of all colours, and no visible difference.
COLOURS = 256
LOG = "document.querySelector('#messages')"
# The alert is then the first message that is visible, and whole.
MISSING_HEIGHT = (
    f"{LOG}.scrollHeight - {LOG}.clientHeight - [...{LOG}.children]"
    f".find((each) => each.innerText.includes('Stage down')).offsetTop + {LOG}.offsetTop"
)
# In the middle of the day there are results already, and events to come.
TIME_OF_DAY = timedelta(hours=12, minutes=26)
STOPPED = "predictor"
COMING = 3
RULES = {
    "rules": {
        "tip": {"finding": "tip"},
        # The shipped rule waits three minutes.
        "stage-down": {"finding": "stage-down", "for": "2s"},
    }
}


@dataclass(frozen=True)
class Scene:
    """What the people of the picture see and use."""

    fake: FakeDiscord
    session: Session

    def message(self, text: str) -> PostedMessage | None:
        """The newest message of the channel with an embed that contains the text."""
        shown = self.fake.messages(self.fake.channel(CHANNEL))
        return next((each for each in reversed(shown) if text in str(each.embeds)), None)

    def wait_for(self, text: str) -> PostedMessage:
        self.session.wait(lambda: self.message(text) is not None)
        message = self.message(text)
        assert message is not None
        return message

    def click(self, name: str, message: PostedMessage, label: str) -> None:
        rows = self.fake.payload(message)["components"]
        [button] = [each for row in rows for each in row["components"] if each["label"] == label]
        self.fake.click(self.fake.person(name), message, button["custom_id"])

    def use(self, name: str, command: str, **options: Any) -> None:
        used = self.fake.slash(self.fake.person(name), self.fake.channel(CHANNEL), command, options)
        self.session.wait(lambda: used.is_answered)


def draw_bot(data_dir: Path, console: Console, path: Path) -> None:
    """`data_dir`: of a demonstration, which has trained a model."""
    program = _program()
    with FakeDiscord() as fake, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = Settings(data_dir=data_dir)
        with prepared_environment(settings, None, console, LineView) as environment:
            _forget_earlier(environment)
            token = _bot_token(environment)
        config = _write_settings(folder, fake, token)
        with (
            prepared_environment(settings, config, console, LineView) as environment,
            _live_scene(environment, fake) as scene,
            Browser(program, folder / "profile") as browser,
        ):
            _play(scene)
            _take(browser, fake, path)


def _program() -> str:
    """The browser's program. Raises SystemExit without it, or without a font for the names."""
    program = chromium()
    if program is None:
        raise SystemExit(f"the picture of the bot needs chromium: install Debian's package or set {VARIABLE}")
    fonts = subprocess.run(["fc-list", ":lang=ja"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if not fonts:
        raise SystemExit("the picture of the bot needs a font with kana, for example Debian's fonts-noto-cjk")
    return program


def _forget_earlier(environment: RunEnvironment) -> None:
    """End what an earlier picture has left: its alert, and the session and the board of a Discord that is gone."""
    with environment.access.connect("headrace pictures") as connection:
        connection.execute("UPDATE notifier.incidents SET resolved_at = now() WHERE resolved_at IS NULL")
        connection.execute("DELETE FROM notifier.bot_state")
        connection.commit()


def _bot_token(environment: RunEnvironment) -> str:
    where = ("--data-dir", str(environment.data_dir.path))
    name = f"picture-{secrets.token_hex(4)}"
    command = python("-m", "headrace", "token", "create", name, "--scope", "operate", "--delegate", *where)
    variables = common_environment(environment.data_dir)
    return subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout


def _write_settings(folder: Path, fake: FakeDiscord, token: str) -> Path:
    for name, text in {"bot-token": fake.token, "api-token": token, "rules.yaml": yaml.safe_dump(RULES)}.items():
        (folder / name).write_text(text, encoding="utf-8")
    channel = str(fake.channel(CHANNEL).id)
    notifier = {
        "channels": ["discord-bot"],
        "rules_file": str(folder / "rules.yaml"),
        "bot_token_file": str(folder / "bot-token"),
        "bot_api_token_file": str(folder / "api-token"),
        "bot_guild_id": str(fake.guild_id),
        "bot_channel": channel,
        "bot_board_channel": channel,
        "bot_roles": [f"{fake.role('operator').id}=operate"],
        "discord_base_url": fake.api_url,
        "discord_gateway_url": fake.gateway_url,
    }
    config = folder / "headrace.yaml"
    config.write_text(yaml.safe_dump({"service": {"replica": "worker-0"}, "notifier": notifier}), encoding="utf-8")
    return config


@contextmanager
def _live_scene(environment: RunEnvironment, fake: FakeDiscord) -> Iterator[Scene]:
    """The next day of the demonstration at its usual speed, until the predictor is stopped with nothing left to do."""
    next_up = next_day(environment.data_dir)
    day = next_up.day
    simulation = Simulation(free_port())
    clock = VirtualTime(datetime(day.year, day.month, day.day, tzinfo=JST) + TIME_OF_DAY, 1.0, time.time())
    options = RunOptions(SOURCE, base_url=simulation.url, from_date=day, to_date=day, clock=clock)
    services = environment.services(options, follow=True)
    with environment.session() as session:
        session.monitor.begin(Phase(LIVE, f"live day {day} with the bot", zone=JST))
        session.start([simulator_program(simulation, environment.data_dir, clock)])
        session.wait(simulation.listens)
        session.start([each for each in services if not each.name.startswith(STOPPED)])
        stopped = session.start([each for each in services if each.name.startswith(STOPPED)])
        next_up.begin()
        with environment.access.connect("headrace pictures") as connection:
            now = datetime.combine(day, datetime.min.time(), JST) + TIME_OF_DAY
            session.wait(lambda: _is_predicted(connection, now))
            session.wait_for_readings(_is_handled)
        session.wait(lambda: fake.is_connected and bool(fake.commands()))
        session.stop(stopped)
        yield Scene(fake, session)


def _is_predicted(connection: DbConnection, now: datetime) -> bool:
    cards = read_cards(connection, coming_events(connection, now, None, COMING), MARKET)
    connection.commit()
    return len(cards) == COMING and all(card.newest for card in cards)


def _is_handled(reading: Reading) -> bool:
    """Whether everything published so far has been predicted and sent. The day's CSV files come much later."""
    is_read = not any(reading.positions.lag(service) for service, _ in HOPS)
    return reading.fetcher is not None and not reading.fetcher.due and is_read and not reading.notifications_open


def _play(scene: Scene) -> None:
    """An alert is acknowledged, the board is refreshed, and a person looks at the coming events."""
    board = scene.wait_for("Headrace status board")
    alert = scene.wait_for("Stage down")
    scene.click("Ana Operator", alert, "Acknowledge")
    scene.wait_for("Acknowledged by")
    scene.click("Ana Operator", board, "Refresh")
    scene.wait_for("stage-down: predictor")
    scene.use("Ben Reader", "/next", n=COMING)
    scene.use("Ana Operator", "/pause", service="cleaner", topic="raw-events", reason="deploy a new rule")


def _take(browser: Browser, fake: FakeDiscord, path: Path) -> None:
    browser.show_as(WIDTH, HEIGHT, SCALE)
    browser.open(fake.url)
    browser.wait_for_text("Headrace is connected")
    browser.evaluate(
        f"[...document.querySelectorAll('#channels button')].find((each) => each.textContent === '# {CHANNEL}').click()"
    )
    browser.wait_for_text("deploy a new rule", "#messages")
    browser.evaluate("document.querySelector('#show-pins').click()")
    browser.evaluate("document.activeElement.blur()")
    browser.show_as(WIDTH, HEIGHT + int(browser.evaluate(MISSING_HEIGHT)), SCALE)
    browser.evaluate(f"{LOG}.scrollTop = {LOG}.scrollHeight")
    browser.save_picture(path)
    Image.open(path).quantize(COLOURS).save(path, optimize=True)
