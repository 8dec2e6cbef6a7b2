"""The command `/model`: the live model, how good it is, and its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.notifier.bot.answers import Answer, AttachedFile, Embed, EmbedField, note
from services.notifier.bot.context import BotContext, Command, single
from services.notifier.bot.interaction import Interaction
from services.notifier.texts.content import Colour
from services.notifier.texts.message import escape
from shared.errors import HeadraceError

PICTURE = "reliability"
STATES = (("observation", "Card and observation"), ("card", "Card"))


@single
async def show_model(context: BotContext, _: Interaction) -> Answer:
    models = await context.api.get("predictor", "/models")
    live = next((each for each in models if each["state"] == "live"), None)
    if live is None:
        return note("No model is live. `headrace models` lists what there is.", "warning", "No live model")
    picture = await _picture(context, str(live["version"]))
    shadows = sum(each["state"] == "shadow" for each in models)
    embed = model_embed(live, shadows, None if picture is None else picture.name)
    return Answer((embed,), files=() if picture is None else (picture,))


def model_embed(model: Mapping[str, Any], shadows: int, picture: str | None) -> Embed:
    metrics = model["metrics"]
    fields = [
        EmbedField("Data", f"{model['first_day']} to {model['last_day']}"),
        EmbedField("Events", "unknown" if model["events"] is None else f"{model['events']:,}"),
        EmbedField("Shadows beside it", f"{shadows}"),
    ]
    for state, name in STATES:
        loss, base = metrics.get(f"{state}_result"), metrics.get(f"{state}_result_base")
        if loss is not None and base is not None:
            word = "better" if loss < base else "worse"
            fields.append(EmbedField(f"Log loss, {name}", f"{loss:.4f}, base rate {base:.4f}: {word}", inline=False))
    problem = model.get("problem")
    text = f"live since {str(model['since'])[:16].replace('T', ' ')} UTC" if model.get("since") else "live"
    description = f"{text}\n{escape(str(problem))}" if problem else text
    colour: Colour = "critical" if problem else "information"
    return Embed(
        f"Model {model['version']}", description, tuple(fields), colour, "On validation days; lower is better", picture
    )


async def _picture(context: BotContext, version: str) -> AttachedFile | None:
    try:
        content = await context.api.get_bytes("predictor", f"/models/{version}/pictures/{PICTURE}.png")
    except HeadraceError:
        return None
    return AttachedFile(f"{PICTURE}.png", content)


COMMANDS = {
    "model": Command(show_model, {"name": "model", "description": "The live model and how good it is", "options": []})
}
