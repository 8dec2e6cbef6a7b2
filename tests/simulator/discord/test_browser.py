"""The page in a real browser, used with the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import discord
import pytest

from simulator.discord.fake import FakeDiscord
from tests.simulator.discord.bots import RealBot, RunningBot
from tests.simulator.discord.browser import VARIABLE, Browser, chromium

pytestmark = pytest.mark.browser

SCRIPT = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title = 'hacked'\">"

# The pairs of text and background whose contrast is too low.
CONTRASTS = """(() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const luminance = (name) => {
    probe.style.color = `var(--${name})`;
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = ["text", "quiet", "strong", "link", "accent", "wrong"].flatMap((text) =>
    ["back", "side", "deep", "hover"].map((back) => [text, back]));
  pairs.push(["banner-text", "banner"], ["text", "mine"]);
  return pairs.map(([text, back]) => {
    const [dark, light] = [luminance(text), luminance(back)].sort((one, other) => one - other);
    return `${text} on ${back}: ${((light + 0.05) / (dark + 0.05)).toFixed(2)}`;
  }).filter((line) => Number(line.split(": ")[1]) < 4.5);
})()"""


class PauseBot(RealBot):
    def __init__(self, fake: FakeDiscord) -> None:
        super().__init__(fake)

        @self.tree.command(name="pause", description="Pause a stage")
        async def pause(interaction: discord.Interaction[Any], service: str, reason: str = "none") -> None:
            view = discord.ui.View(timeout=None)
            view.add_item(discord.ui.Button(label="Confirm", custom_id="confirm"))
            await interaction.response.send_message(f"Pause {service}? {reason}", view=view, ephemeral=True)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        if interaction.type is discord.InteractionType.component:
            await interaction.response.edit_message(content="paused", view=None)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip(f"there is no chromium; install Debian's package or set {VARIABLE}")
    with Browser(program, tmp_path) as browser:
        yield browser


def test_a_command_is_typed_completed_sent_and_confirmed_with_the_keyboard(fake: FakeDiscord, browser: Browser) -> None:
    with RunningBot(fake, PauseBot(fake)) as running:
        running.ready()
        browser.open(fake.url)
        browser.wait_for_text("Headrace is connected")
        browser.type("/pa")
        browser.wait_for_text("/pause", "#completions")
        browser.press("Tab")
        browser.wait_for_text("service:", "#completions")
        browser.press("Tab")
        browser.type("cleaner")
        browser.press("Enter")
        browser.wait_for_text("Pause cleaner? none", "#messages")
        browser.wait_for_text("Only you can see this", "#messages")
        browser.wait_for_text("Ana Operator used /pause", "#messages")
        browser.evaluate("document.querySelector('[data-id=confirm]').focus()")
        browser.press("Enter")
        browser.wait_for_text("paused", "#messages")

    assert browser.console == []


def test_text_is_never_html(fake: FakeDiscord, browser: Browser) -> None:
    async def send(channel: discord.TextChannel) -> None:
        embed = discord.Embed(title=SCRIPT, description=SCRIPT).add_field(name=SCRIPT, value=SCRIPT)
        await channel.send(f"{SCRIPT} **{SCRIPT}** `{SCRIPT}`", embed=embed.set_footer(text=SCRIPT))

    with RunningBot(fake, PauseBot(fake)) as running:
        running.ready()
        running.call(lambda: send(running.channel("races")))
        browser.open(fake.url)
        browser.wait_for_text("onerror", "#messages")

    assert browser.text("#messages").count(SCRIPT) == 8
    assert browser.evaluate("document.querySelectorAll('#messages script, #messages img').length") == 0
    assert browser.evaluate("document.title") == "Simulated chat · Headrace"


def test_a_new_message_appears_and_another_person_sees_it_differently(fake: FakeDiscord, browser: Browser) -> None:
    browser.open(fake.url)
    browser.wait_for_text("# races", "#title")

    fake.say(fake.person("Cleo Outsider"), fake.channel("races"), f"<@{fake.person('Ben Reader').id}> look")

    browser.wait_for_text("@Ben Reader look", "#messages")
    assert "notifies you" not in browser.text("#messages")
    choice = "const select = document.querySelector('#person'); select.selectedIndex = 1;"
    browser.evaluate(choice + "select.dispatchEvent(new Event('change'))")
    browser.wait_for_text("notifies you", "#messages")
    assert browser.text("#roles") == "Role: reader"


def test_on_a_narrow_screen_the_channels_are_a_drawer(fake: FakeDiscord, browser: Browser) -> None:
    browser.show_as(390, 800)
    browser.open(fake.url)
    browser.wait_for_text("# races", "#title")
    is_shown = "document.querySelector('#side').checkVisibility({visibilityProperty: true})"
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    assert not browser.evaluate(is_shown)

    browser.evaluate("document.querySelector('#show-side').focus()")
    browser.press("Enter")
    assert browser.evaluate(is_shown)
    browser.evaluate("document.querySelectorAll('#channels button')[1].focus()")
    browser.press("Enter")

    browser.wait_for_text("# operations", "#title")
    assert not browser.evaluate(is_shown)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_has_enough_contrast(fake: FakeDiscord, browser: Browser, scheme: str) -> None:
    """At least 4.5:1, as WCAG 2.2 AA asks for."""
    browser.show_as(1200, 900, scheme=scheme)
    browser.open(fake.url)
    browser.wait_for_text("# races", "#title")

    assert browser.evaluate(CONTRASTS) == []
