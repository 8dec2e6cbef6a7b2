"""Asks a person to confirm a change, and makes it after a click of the same person within a minute.

The buttons carry the id of the interaction that requested it. The change is sent with a key made of this id, so a
double click, or a successor that handles the click again, changes nothing more. The first of the two buttons decides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from services.notifier.bot.answers import Answer, Button, note
from services.notifier.bot.context import BotContext, Command
from services.notifier.bot.interaction import Interaction, custom_id, interaction_of
from services.notifier.storage import postgres_interactions as inbox

CONFIRM, CANCEL = "confirm", "cancel"
# The step of a dry run (BotContext.change): the change itself has a key of its own.
PLAN = "plan"
VALID_FOR = timedelta(seconds=60)
UNCHANGED = "Nothing was changed."

Execute = Callable[[BotContext, Interaction, str], AsyncIterator[Answer]]
"""Makes the change that the first interaction requested: (context, first interaction, plan id)."""


def confirmable(preview: Answer, interaction: Interaction, plan_id: str = "") -> Answer:
    """The preview with the buttons to confirm and to cancel. `plan_id` is passed to `Execute`."""
    argument = f"{interaction.id}:{plan_id}"
    buttons = (Button("Confirm", custom_id(CONFIRM, argument), "danger"), Button("Cancel", custom_id(CANCEL, argument)))
    return replace(preview, buttons=(*preview.buttons, *buttons))


def confirmation_buttons(executes: Mapping[str, Execute]) -> dict[str, Command]:
    """The buttons' commands. `executes`: by the name of the command or button that asked."""

    async def confirm(context: BotContext, click: Interaction) -> AsyncIterator[Answer]:
        first_id, _, plan_id = click.argument.partition(":")
        first = await context.database.call(inbox.stored, int(first_id))
        clicked = await context.database.call(inbox.stored, click.id)
        if first is None or clicked is None or clicked.received_at - first.received_at > VALID_FOR:
            yield note(f"This confirmation has expired. {UNCHANGED} Run the command again.", "warning", "Expired")
            return
        request = interaction_of(first.payload)
        if request.person.id != click.person.id:
            yield note(f"Only the person who request can confirm. {UNCHANGED}", "warning", "Not allowed")
            return
        if await context.database.call(inbox.decide, int(first_id), CONFIRM) != CONFIRM:
            yield note(f"Cancelled. {UNCHANGED}", "muted", "Cancelled")
            return
        # Roles may have changed since; the click has the newest ones.
        current = replace(request, person=click.person)
        async for answer in executes[request.name](context, current, plan_id):
            yield answer

    async def cancel(context: BotContext, click: Interaction) -> AsyncIterator[Answer]:
        """Shows nothing if the change was confirmed before: the message shows its operation."""
        first_id, _, _ = click.argument.partition(":")
        if await context.database.call(inbox.decide, int(first_id), CANCEL) != CONFIRM:
            yield note(f"Cancelled. {UNCHANGED}", "muted", "Cancelled")

    return {
        CONFIRM: Command(confirm, scope="operate", private=True, in_place=True),
        CANCEL: Command(cancel, private=True, in_place=True),
    }
