"""Makes the files that a notification shows: a picture from the predictor, a day's results as CSV.

A file that cannot be made is left out: the message without it is better than none.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import date

import structlog

from services.notifier.bot.admin_api import AdminApi
from services.notifier.bot.answers import AttachedFile
from services.notifier.bot.commands.events import MARKET, day_picture
from services.notifier.bot.context import Database
from services.notifier.storage.postgres_cards import Card, last_before_start, read_cards, settled_events
from services.notifier.texts.content import Content
from shared.errors import HeadraceError

# Well below the time that a send may take (channel.SEND_LIMIT_S).
LIMIT_S = 8.0
# Discord accepts 10 MiB; a day's results have about 20 kB.
MAX_CSV_BYTES = 500_000
CSV_HEADER = ("event_key", "scheduled_at", "winner", "win_probability", "favourite", "selection", "amount")
log = structlog.get_logger("notifier.bot")


async def files_of(content: Content, database: Database, api: AdminApi) -> list[AttachedFile]:
    """The picture, if there is one, is the first file."""
    try:
        async with asyncio.timeout(LIMIT_S):
            kind, _, subject = (content.picture or "").partition(":")
            picture = await _day_picture(api, subject) if kind == "day" else None
            kind, _, subject = (content.attachment or "").partition(":")
            table = await _results(database, subject) if kind == "results" else None
    except (HeadraceError, ValueError, TimeoutError) as error:
        log.warning("bot_attachment_missing", error=str(error) or type(error).__name__)
        return []
    return [file for file in (picture, table) if file is not None]


def results_csv(cards: Sequence[Card]) -> bytes:
    """One line for each event; the header is CSV_HEADER, times are ISO 8601 in UTC."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for card in cards:
        event, prediction = card.event, last_before_start(card)
        win = prediction.win if prediction else {}
        favourite = max(win, key=lambda slot: (win[slot], -slot), default=None)
        winner = event.winner
        payout = event.payouts[0] if event.payouts else None
        writer.writerow([
            event.event_key, event.scheduled_at.isoformat() if event.scheduled_at else "", winner,
            "" if winner is None or winner not in win else f"{win[winner]:.6f}", favourite,
            payout.selection if payout else "", payout.amount if payout else "",
        ])  # fmt: skip
    return text.getvalue().encode()


async def _day_picture(api: AdminApi, subject: str) -> AttachedFile | None:
    source, _, day = subject.rpartition(":")
    return await day_picture(api, source, date.fromisoformat(day))


async def _results(database: Database, subject: str) -> AttachedFile | None:
    source, _, text = subject.rpartition(":")
    day = date.fromisoformat(text)
    keys = [key for key in await database.call(settled_events, day) if key.startswith(f"{source}:")]
    content = results_csv(await database.call(read_cards, keys, MARKET))
    return AttachedFile(f"results-{day}.csv", content) if keys and len(content) <= MAX_CSV_BYTES else None
