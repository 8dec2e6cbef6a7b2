"""The command `/status` and its button *Refresh*: the stages, what failed, the model, open alerts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from services.notifier.alerts.postgres_incidents import list_incidents
from services.notifier.alerts.postgres_reading import read_pipeline
from services.notifier.alerts.reading import PipelineReading
from services.notifier.bot.answers import MAX_DESCRIPTION, Answer, Button, Embed, EmbedField, cut_lines
from services.notifier.bot.context import BotContext, Command, single
from services.notifier.bot.interaction import Interaction, custom_id
from services.notifier.texts.content import Colour
from services.notifier.texts.message import escape
from shared.database.connection import DbConnection
from shared.topics import SERVICES

REFRESH = "refresh"
# Without a limit in time the newest prediction would be found by reading all of them.
_LAST_PREDICTION = "SELECT max(as_of) FROM analytics.predictions WHERE as_of > %s - interval '7 days'"


class StatusReading(NamedTuple):
    """`alerts`: lines about open incidents. `last_prediction`: its as_of, by the events' clock."""

    pipeline: PipelineReading
    alerts: tuple[str, ...]
    last_prediction: datetime | None


def read_status(connection: DbConnection, now: datetime) -> StatusReading:
    """`now`: by the events' clock."""
    row = connection.execute(_LAST_PREDICTION, (now,)).fetchone()
    incidents = reversed(list_incidents(connection, ("open", "acknowledged")))
    return StatusReading(
        read_pipeline(connection),
        tuple(f"{escape(each.kind)}: {escape(each.subject)}" for each in incidents),
        None if row is None else row[0],
    )


def status_embed(reading: StatusReading) -> Embed:
    pipeline = reading.pipeline
    stages = [stage_line(pipeline, service) for service in SERVICES]
    held = [
        f"{each.service} holds back {escape(each.topic)}/{each.partition}: {escape(each.cause)}"
        for each in pipeline.held
    ]
    troubled = any(state in {"down", "not ready"} for state, _ in stages) or bool(held or reading.alerts)
    fields = [
        EmbedField("Windows", _windows(pipeline)),
        EmbedField("Open dead letters", f"{sum(each.open for each in pipeline.dead_letters.values()):,}"),
        EmbedField("Last prediction", _time(reading.last_prediction)),
        EmbedField("Log loss of the model (lower is better)", _model(pipeline), inline=False),
        EmbedField("Open alerts", cut_lines(reading.alerts, 1_000) or "none", inline=False),
    ]
    colour: Colour = "warning" if troubled else "good"
    lines = [line for _, line in stages] + held
    word = "needs attention" if troubled else "all stages work"
    return Embed(f"Headrace: {word}", cut_lines(lines, MAX_DESCRIPTION), tuple(fields), colour, _time(pipeline.at))


def stage_line(pipeline: PipelineReading, service: str) -> tuple[str, str]:
    """(state, line) of one service."""
    live = pipeline.live(service)
    ready = sum(each.is_ready for each in live)
    paused = sorted(topic for name, topic in pipeline.paused if name == service)
    backlogs = [(topic, each) for (name, topic), each in pipeline.backlogs.items() if name == service]
    records = sum(each.records for _, each in backlogs)
    ages = [each.oldest_s for _, each in backlogs if each.oldest_s is not None and each.records]
    state = "down" if not live else "not ready" if not ready else "paused" if paused else "running"
    parts = [f"**{service}** {state}", f"{ready} of {len(live)} ready"]
    if backlogs:
        parts.append(f"{records:,} records wait" + (f", the oldest {max(ages):,.0f} s" if ages else ""))
    if paused:
        parts.append(f"paused: {', '.join(paused)}")
    return state, " · ".join(parts)


@single
async def show_status(context: BotContext, _: Interaction) -> Answer:
    reading = await context.database.call(read_status, context.clock.now())
    return Answer((status_embed(reading),), (Button("Refresh", custom_id(REFRESH)),))


def _windows(pipeline: PipelineReading) -> str:
    windows = pipeline.windows
    if windows is None:
        return "unknown"
    return f"{windows.failed:,} failed, {windows.due:,} due"


def _model(pipeline: PipelineReading) -> str:
    if not pipeline.models:
        return "none scored yet"
    return "\n".join(_model_lines(pipeline))


def _model_lines(pipeline: PipelineReading) -> Iterable[str]:
    for each in pipeline.models or ():
        yield f"{escape(each.model)} from the {each.state}: {each.log_loss:.3f}, base rate {each.base_log_loss:.3f}"


def _time(instant: datetime | None) -> str:
    return "none" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


COMMANDS = {
    "status": Command(show_status, {"name": "status", "description": "How the pipeline is doing", "options": []})
}
BUTTONS = {REFRESH: Command(show_status, in_place=True)}
