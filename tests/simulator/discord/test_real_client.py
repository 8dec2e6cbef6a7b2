"""discord.py as a client of the simulated Discord."""

from __future__ import annotations

import io
from typing import Any

import discord

from simulator.discord.fake import FakeDiscord
from tests.simulator.discord.bots import RealBot, RunningBot

PICTURE = b"not really a picture"


class CommandBot(RealBot):
    def __init__(self, fake: FakeDiscord) -> None:
        super().__init__(fake)

        @self.tree.command(name="status", description="The state of the pipeline")
        async def status(interaction: discord.Interaction[Any], service: str = "all") -> None:
            await interaction.response.defer(thinking=True, ephemeral=True)
            name = interaction.user.display_name
            roles = [role.name for role in getattr(interaction.user, "roles", [])][1:]
            await interaction.edit_original_response(content=f"{service} for {name} {roles}")
            await interaction.followup.send("more", ephemeral=True)


def test_a_client_logs_in_and_registers_its_commands(fake: FakeDiscord) -> None:
    with RunningBot(fake, CommandBot(fake)) as running:
        running.ready()

        assert [command["name"] for command in fake.commands()] == ["status"]
        assert [guild.id for guild in running.bot.guilds] == [fake.guild_id]


def test_a_command_is_deferred_and_its_answer_edited(fake: FakeDiscord) -> None:
    ana, channel = fake.person("Ana Operator"), fake.channel("races")
    with RunningBot(fake, CommandBot(fake)) as running:
        running.ready()

        interaction = fake.slash(ana, channel, "/status", {"service": "cleaner"})
        fake.wait_for(lambda: len(interaction.messages) == 2, "the answer and one more message")

    assert interaction.callback == 5
    assert interaction.content == "cleaner for Ana Operator ['operator']"
    assert [message.content for message in interaction.messages][1] == "more"
    assert interaction.answered_within is not None
    assert fake.messages(channel) == []
    assert fake.messages(channel, viewer=ana) == interaction.messages
    assert fake.messages(channel, viewer=fake.person("Ben Reader")) == []


def test_a_message_is_posted_edited_discussed_and_pinned(fake: FakeDiscord) -> None:
    async def act(channel: discord.TextChannel) -> discord.Thread:
        embed = discord.Embed(title="Stage down", description="cleaner").set_image(url="attachment://chart.png")
        files = [discord.File(io.BytesIO(PICTURE), "chart.png"), discord.File(io.BytesIO(b"a,b\n"), "day.csv")]
        message = await channel.send("**down**", embed=embed, files=files)
        message = await message.edit(content="**up**")
        thread = await message.create_thread(name="Details")
        await thread.send("It started at noon.")
        await message.pin()
        assert [pinned.id async for pinned in channel.pins()] == [message.id]
        assert [each.filename for each in message.attachments] == ["day.csv"]
        assert await message.attachments[0].read() == b"a,b\n"
        return thread

    with RunningBot(fake, CommandBot(fake)) as running:
        running.ready()
        thread = running.call(lambda: act(running.channel("operations")))

    message, notice = fake.messages(fake.channel("operations"))
    assert message.content == "**up**"
    assert [edit["content"] for edit in fake.edits(message)] == ["**down**"]
    assert message.thread is not None
    assert message.thread.id == thread.id == message.id
    assert [each.content for each in fake.messages(message.thread)] == ["It started at noon."]
    assert message.pinned_at is not None
    assert notice.kind == 6
    assert fake.payload(message)["embeds"][0]["image"]["url"].startswith(fake.url)
