"""The commands about events: `/event`, `/next`, `/today`, `/results`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from math import log

from services.notifier.bot.admin_api import AdminApi
from services.notifier.bot.answers import MAX_DESCRIPTION, Answer, AttachedFile, Embed, EmbedField, cut_lines, note
from services.notifier.bot.commands.options import number_option, text_option
from services.notifier.bot.context import BotContext, Command, single
from services.notifier.bot.interaction import Interaction
from services.notifier.storage.postgres_cards import (
    Card,
    coming_events,
    last_before_start,
    matching_events,
    newest_settled_day,
    read_cards,
    settled_events,
)
from services.notifier.texts.content import Colour
from services.notifier.texts.message import escape
from shared.errors import HeadraceError

MARKET = "trifecta"
DEFAULT_COMING, MAX_COMING = 5, 15
MAX_CHANCES, MAX_AMOUNTS = 3, 5
_STATE_NAMES = {"card": "from the card", "observation": "from card and observation"}
KEY_OPTION = text_option("key", "Part of a venue's name or of a key", complete=True)
DAY_OPTION = text_option("day", "For example 2026-01-31; without it, the newest", required=False, max_length=10)
PROBABILITY_NOTE = "Probabilities, not advice; no return is promised."


@single
async def show_event(context: BotContext, interaction: Interaction) -> Answer:
    cards = await context.database.call(read_cards, [interaction.text("key")], MARKET)
    if not cards:
        text = f"There is no event {escape(interaction.text('key'))}. Type a part of a venue's name, and choose."
        return note(text, "warning", "Unknown event")
    return Answer((event_embed(cards[0]),))


@single
async def show_next(context: BotContext, interaction: Interaction) -> Answer:
    limit = min(interaction.number("n") or DEFAULT_COMING, MAX_COMING)
    now = context.clock.now()
    keys = await context.database.call(coming_events, now, interaction.number("venue"), limit)
    cards = await context.database.call(read_cards, keys, MARKET)
    if not cards:
        where = f" at venue {venue}" if (venue := interaction.number("venue")) else ""
        return note(f"No event is listed{where} for the next two days.", "muted", "Nothing to come")
    return Answer((coming_embed(cards, now),))


@single
async def show_today(context: BotContext, _: Interaction) -> Answer:
    return await _day_answer(context, context.clock.now().date())


@single
async def show_results(context: BotContext, interaction: Interaction) -> Answer:
    typed = interaction.text("day")
    if not typed:
        day = await context.database.call(newest_settled_day, context.clock.now())
        if day is None:
            return note("No event is settled yet.", "muted", "No results")
        return await _day_answer(context, day)
    try:
        return await _day_answer(context, date.fromisoformat(typed))
    except ValueError:
        return note("Expected a day like 2026-01-31.", "warning", "Unknown day")


async def complete_event(context: BotContext, interaction: Interaction) -> list[tuple[str, str]]:
    """Events around now whose key or name contains what was typed."""
    now = context.clock.now()
    rows = await context.database.call(matching_events, now, interaction.text("key"))
    return [(f"{name} · {_time(start)} · {key}", key) for key, name, start in rows]


def event_embed(card: Card) -> Embed:
    """One event: its entries with both probabilities, and the result if there is one."""
    event = card.event
    lines = [f"{event.status}, start {_time(event.scheduled_at)}"]
    lines += [_slot_line(card, slot) for slot in _slots(card)]
    if event.places:
        lines.append("**Result** " + ", ".join(f"{place}. {_name(card, slot)}" for place, slot in event.places[:3]))
    lines += [f"{MARKET} {escape(payout.selection)} paid {payout.amount:,} per 100 staked" for payout in event.payouts]
    fields = tuple(
        EmbedField(_predicted(each.state), f"{escape(each.model_version)}, {_time(each.as_of)}")
        for each in card.predictions
    )
    colour: Colour = "good" if event.status == "settled" else "information"
    title = f"{_place_name(card)}, event {event.number} · {event.session.day}"
    return Embed(title, cut_lines(lines, MAX_DESCRIPTION), fields, colour, f"{event.event_key} · {PROBABILITY_NOTE}")


def coming_embed(cards: Sequence[Card], now: datetime) -> Embed:
    """The next events, each with its three best chances."""
    fields = tuple(
        EmbedField(
            f"{_place_name(card)} {card.event.number} · {_countdown(card.event.scheduled_at, now)}",
            _chances(card) or "no prediction yet",
            inline=False,
        )
        for card in cards
    )
    return Embed("Coming events", "", fields, "information", PROBABILITY_NOTE)


def day_embed(day: date, cards: Sequence[Card], picture: str | None) -> Embed:
    """A day's figures: hit rate, log loss against equal chances, highest amounts."""
    scored = [
        (card, prediction, winner)
        for card in cards
        if (winner := card.event.winner) is not None
        and (prediction := last_before_start(card)) is not None
        and winner in prediction.win
    ]
    fields = [EmbedField("Settled", f"{len(cards):,}")]
    if scored:
        hits = sum(max(prediction.win, key=prediction.win.__getitem__) == winner for _, prediction, winner in scored)
        loss = sum(-log(max(prediction.win[winner], 1e-15)) for _, prediction, winner in scored) / len(scored)
        equal = sum(log(len(prediction.win)) for _, prediction, _ in scored) / len(scored)
        fields += [
            EmbedField("Favourite won", f"{hits:,} of {len(scored):,} ({100 * hits / len(scored):.0f}%)"),
            EmbedField("Log loss", f"{loss:.3f} (equal chances: {equal:.3f}; lower is better)"),
        ]
    amounts = sorted(
        ((payout.amount, card, payout.selection) for card in cards for payout in card.event.payouts),
        key=lambda each: (-each[0], each[1].event.event_key),
    )[:MAX_AMOUNTS]
    lines = [
        f"{_place_name(card)} {card.event.number}: {escape(selection)} paid {amount:,}"
        for amount, card, selection in amounts
    ]
    heading = [f"**Highest amounts** ({MARKET}, per 100 staked)"] if lines else []
    return Embed(
        f"Results of {day}",
        cut_lines([*heading, *lines], MAX_DESCRIPTION),
        tuple(fields),
        "good",
        PROBABILITY_NOTE,
        picture,
    )


async def day_picture(api: AdminApi, source: str, day: date) -> AttachedFile | None:
    """The predictor's picture of a day; None if there is none, or no predictor."""
    try:
        content = await api.get_bytes("predictor", "/charts/day.png", {"source": source, "day": day.isoformat()})
    except HeadraceError:
        return None
    return AttachedFile(f"day-{day}.png", content)


async def _day_answer(context: BotContext, day: date) -> Answer:
    keys = await context.database.call(settled_events, day)
    if not keys:
        return note(f"No event of {day} is settled.", "muted", "No results")
    source = keys[0].partition(":")[0]
    cards, picture = await asyncio.gather(
        context.database.call(read_cards, keys, MARKET), day_picture(context.api, source, day)
    )
    embed = day_embed(day, cards, None if picture is None else picture.name)
    return Answer((embed,), files=() if picture is None else (picture,))


def _predicted(state: str) -> str:
    return f"Predicted {_STATE_NAMES.get(state, state)}"


def _slots(card: Card) -> Sequence[int]:
    known = {slot for prediction in card.predictions for slot in prediction.win}
    return sorted(known | set(card.event.names) | {slot for _, slot in card.event.places})


def _slot_line(card: Card, slot: int) -> str:
    shares = [_percent(prediction.win[slot]) for prediction in card.predictions if slot in prediction.win]
    return f"{_name(card, slot)}" + (f": {' → '.join(shares)}" if shares else "")


def _chances(card: Card) -> str:
    newest = card.newest
    if newest is None:
        return ""
    best = sorted(newest.win.items(), key=lambda item: (-item[1], item[0]))[:MAX_CHANCES]
    return ", ".join(f"{_name(card, slot)} {_percent(share)}" for slot, share in best)


def _name(card: Card, slot: int) -> str:
    name = card.event.names.get(slot)
    return f"{slot} {escape(name)}" if name else f"slot {slot}"


def _place_name(card: Card) -> str:
    session = card.event.session
    return escape(session.venue_name or f"venue {session.venue}")


def _countdown(start: datetime | None, now: datetime) -> str:
    if start is None:
        return "start unknown"
    minutes = max(0, round((start - now) / timedelta(minutes=1)))
    return f"in {minutes} min" if minutes < 120 else _time(start)


def _time(instant: datetime | None) -> str:
    return "unknown" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _definition(name: str, description: str, options: Iterable[object] = ()) -> dict[str, object]:
    return {"name": name, "description": description, "options": list(options)}


COMMANDS = {
    "event": Command(
        show_event,
        _definition(
            "event", "One event with its probabilities", [text_option("key", "Part of a venue or key", complete=True)]
        ),
        complete={"key": complete_event},
    ),
    "next": Command(
        show_next,
        _definition(
            "next",
            "Coming events with the best chances",
            [number_option("venue", "Number of the venue", 1, 999), number_option("n", "How many", 1, MAX_COMING)],
        ),
    ),
    "today": Command(show_today, _definition("today", "Today's results so far")),
    "results": Command(
        show_results,
        _definition(
            "results", "A day's results", [text_option("day", "For example 2026-01-31", required=False, max_length=10)]
        ),
    ),
}
