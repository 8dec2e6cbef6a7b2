"""The commands `/subscribe` and `/subscriptions`: a person's own direct messages."""

from __future__ import annotations

from services.notifier.bot.answers import Answer, Button, Embed, note
from services.notifier.bot.commands.options import complete_rule, number_option, text_option
from services.notifier.bot.context import BotContext, Command, single
from services.notifier.bot.interaction import Interaction, custom_id
from services.notifier.storage.postgres_subscriptions import (
    Subscription,
    matching_entities,
    remove_subscription,
    subscribe,
    subscriptions_of,
    unsubscribe,
)
from services.notifier.texts.message import escape

UNSUBSCRIBE, REMOVE = "unsubscribe", "remove-subscription"
MAX_BUTTONS = 20


@single
async def add_subscription(context: BotContext, interaction: Interaction) -> Answer:
    rule = interaction.text("rule")
    if rule not in context.rule_names():
        return note(f"There is no rule {escape(rule)}. Choose one of the list.", "warning", "Unknown rule")
    added = await context.database.call(
        subscribe, interaction.person.id, rule, interaction.number("venue"), interaction.text("entity") or None
    )
    text = f"You get direct messages for {describe(added)}. The button below a message ends them."
    return note(text, "good", "Subscribed")


@single
async def list_subscriptions(context: BotContext, interaction: Interaction) -> Answer:
    return _list_answer(await context.database.call(subscriptions_of, interaction.person.id))


@single
async def remove(context: BotContext, click: Interaction) -> Answer:
    """The button of the list: removes one subscription and shows the rest."""
    if click.argument.isdecimal():
        await context.database.call(remove_subscription, click.person.id, int(click.argument))
    return _list_answer(await context.database.call(subscriptions_of, click.person.id))


@single
async def end_rule(context: BotContext, click: Interaction) -> Answer:
    """The button of a direct message: ends all direct messages of its rule."""
    count = await context.database.call(unsubscribe, click.person.id, click.argument)
    if count == 0:
        return note(f"You have no subscription to {escape(click.argument)} any more.", "muted", "Unsubscribed")
    return note(f"You get no more direct messages for {escape(click.argument)}.", "good", "Unsubscribed")


async def complete_entity(context: BotContext, interaction: Interaction) -> list[tuple[str, str]]:
    typed = interaction.text("entity")
    if not typed:
        return []
    rows = await context.database.call(matching_entities, typed)
    return [(f"{name} ({key})", key) for name, key in rows]


def describe(subscription: Subscription) -> str:
    """The subscription in words."""
    limits = []
    if subscription.venue is not None:
        limits.append(f"venue {subscription.venue}")
    if subscription.entity_key is not None:
        limits.append(escape(subscription.entity_key))
    return f"**{escape(subscription.rule)}**" + (f" ({', '.join(limits)})" if limits else "")


def _list_answer(own: list[Subscription]) -> Answer:
    if not own:
        return note("You have no subscriptions. `/subscribe` adds one.", "muted", "Your subscriptions")
    lines = [f"{number}. {describe(each)}" for number, each in enumerate(own, 1)]
    buttons = tuple(
        Button(f"Remove {number}", custom_id(REMOVE, each.id)) for number, each in enumerate(own[:MAX_BUTTONS], 1)
    )
    return Answer((Embed("Your subscriptions", "\n".join(lines)),), buttons)


COMMANDS = {
    "subscribe": Command(
        add_subscription,
        {
            "name": "subscribe",
            "description": "Get direct messages for a rule",
            "options": [
                text_option("rule", "The rule whose messages you want", complete=True),
                number_option("venue", "Only of this venue", 1, 999),
                text_option("entity", "Only with this entity", required=False, complete=True),
            ],
        },
        private=True,
        complete={"rule": complete_rule, "entity": complete_entity},
    ),
    "subscriptions": Command(
        list_subscriptions,
        {"name": "subscriptions", "description": "Your direct messages, and how to end them", "options": []},
        private=True,
    ),
}
BUTTONS = {
    REMOVE: Command(remove, private=True, in_place=True),
    UNSUBSCRIBE: Command(end_rule, private=True, anywhere=True),
}
