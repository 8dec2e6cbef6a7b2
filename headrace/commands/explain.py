"""The command `headrace explain`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from headrace.remote.asking import ApiOptions
from headrace.terminal.arguments import Output, grouped_options
from headrace.terminal.output import print_json, print_table, stdout
from headrace.terminal.table import text_of

COLUMNS = ("slot", "entity", "win", "no card", "no obs.", "no history", "past start", "weight")
"""`no card`: P(win) if the card were unknown; `past start`: the one with the highest weight."""


class KnowledgeState(StrEnum):
    CARD = "card"
    OBSERVATION = "observation"


@grouped_options
def explain(
    options: ApiOptions,
    event_key: Annotated[str, typer.Argument(metavar="EVENT-KEY", help="For example simulator:2026-03-02:03:01.")],
    state: Annotated[
        KnowledgeState, typer.Option("--state", help="Which prediction: from the card, or from card and observation.")
    ] = KnowledgeState.CARD,
) -> None:
    """Explain the live model's prediction of an event: each entry's probability to win, the same if the card, the
    observation or the history were unknown, and the past start with the highest weight. Needs a running predictor."""
    with options.open_api("predictor") as client:
        body = client.get(f"/predictions/{quote(event_key, safe=':')}/explanation", state=state.value)
    if options.output is Output.JSON:
        print_json(body)
        return
    print_table(COLUMNS, [_row(slot) for slot in body["slots"]], text=_cell)
    as_of = str(body["as_of"]).replace("T", " ").removesuffix("Z")
    stdout().print(f"model {body['model_version']}, from the {body['state']}, as of {as_of} UTC", markup=False)


def _row(slot: Mapping[str, Any]) -> list[Any]:
    without = slot["win_without"]
    starts = slot["past_starts"]
    strongest = starts[0] if starts else {"event_key": "none", "settled_at": None, "weight": None}
    return [
        slot["slot"],
        slot["entity_key"],
        slot["win"],
        *(without.get(group) for group in ("card", "observation", "history")),
        strongest["event_key"] or strongest["settled_at"],
        strongest["weight"],
    ]


def _cell(value: Any, wide: bool = False) -> str:
    return f"{value:.3f}" if isinstance(value, float) else text_of(value, wide)
