"""What a notification shows besides its text, for channels that can show it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from shared.events import Frozen

Colour = Literal["information", "good", "warning", "critical", "muted"]


class Content(Frozen):
    """The parts of a message besides its text. A channel ignores those that it cannot show.

    `actions` are the ids of buttons, such as `hr:ack:12`. `picture` and `attachment` name what the channel renders:
    `day:boatrace:2026-01-31` or `calibration`; `results:boatrace:2026-01-31`. `details` is a longer text in Discord's
    markdown, for the message's thread.
    """

    # A row may have been written by a newer version of the notifier.
    model_config = ConfigDict(extra="ignore")

    colour: Colour = "information"
    actions: tuple[str, ...] = ()
    picture: str | None = None
    details: str = ""
    attachment: str | None = None
