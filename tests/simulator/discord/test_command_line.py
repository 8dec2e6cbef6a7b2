"""What a person types into the page's input."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.discord.command_line import completions, is_for_bot, option_values, read_line
from simulator.discord.default_guild import default_guild

GUILD = default_guild()
BEN = next(person.id for person in GUILD.people.values() if person.name == "Ben Reader")
CLEANER = {"name": "The cleaner", "value": "cleaner"}
COMMANDS: list[dict[str, Any]] = [
    {"name": "status", "description": "The state", "options": []},
    {
        "name": "pause",
        "description": "Pause a stage",
        "options": [
            {
                "type": 3,
                "name": "service",
                "description": "Which",
                "choices": [{"name": "The cleaner", "value": "cleaner"}],
            },
            {"type": 3, "name": "topic", "description": "Its topic", "required": True, "autocomplete": True},
            {"type": 4, "name": "minutes", "description": "How long"},
            {"type": 5, "name": "force", "description": "At once"},
            {"type": 6, "name": "person", "description": "Who"},
        ],
    },
    {
        "name": "rules",
        "description": "The rules",
        "options": [{"type": 1, "name": "mute", "description": "Mute one", "options": [{"type": 3, "name": "rule"}]}],
    },
]


@pytest.mark.parametrize(
    ("line", "text", "values"),
    [
        ("/status", "/status", {}),
        (
            "/pause service:cleaner topic:raw events minutes:5",
            "/pause",
            {"service": "cleaner", "topic": "raw events", "minutes": 5},
        ),
        ("/pause force:true person:ben reader", "/pause", {"force": True, "person": str(BEN)}),
        ("/pause cleaner", "/pause", {"service": "cleaner"}),
        ("/rules mute rule:boatrace:2026-01-31:07", "/rules mute", {"rule": "boatrace:2026-01-31:07"}),
        ("/rules mute boatrace:2026-01-31:07", "/rules mute", {"rule": "boatrace:2026-01-31:07"}),
    ],
)
def test_a_line_is_a_command_with_values(line: str, text: str, values: dict[str, Any]) -> None:
    typed = read_line(line, COMMANDS)

    assert typed is not None
    assert typed.text == text
    assert option_values(typed, GUILD) == values


@pytest.mark.parametrize("line", ["/", "/stat", "/rules", "/rules m", "/unknown x"])
def test_a_line_without_a_whole_name_is_no_command(line: str) -> None:
    assert read_line(line, COMMANDS) is None


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("/", ["/status ", "/pause ", "/rules "]),
        ("/p", ["/pause "]),
        ("/rules ", ["/rules mute "]),
        ("/pause ", ["/pause service:", "/pause topic:", "/pause minutes:", "/pause force:", "/pause person:"]),
        ("/pause min", ["/pause minutes:"]),
        ("/pause service:", ["/pause service:cleaner "]),
        ("/pause service:the c", ["/pause service:cleaner "]),
        (
            "/pause service:cleaner force:",
            ["/pause service:cleaner force:true ", "/pause service:cleaner force:false "],
        ),
        ("/pause minutes:5 to", ["/pause minutes:5 topic:"]),
        ("/pause person:cl", ["/pause person:Cleo Outsider "]),
        ("/status ", []),
        ("/unknown ", []),
    ],
)
def test_a_line_has_completions(line: str, lines: list[str]) -> None:
    assert [each.line for each in completions(line, COMMANDS, GUILD)] == lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [("/pause topic:", True), ("/pause topic:raw", True), ("/pause topic:raw ", False), ("/pause ", False)],
)
def test_the_bot_completes_a_value_until_a_space_follows(line: str, expected: bool) -> None:
    typed = read_line(line, COMMANDS)

    assert typed is not None
    assert is_for_bot(typed, line) is expected


@pytest.mark.parametrize("line", ["/pause minutes:x", "/pause force:maybe", "/pause person:nobody"])
def test_a_value_of_another_type_is_refused(line: str) -> None:
    typed = read_line(line, COMMANDS)

    assert typed is not None
    with pytest.raises(ValueError, match="needs"):
        option_values(typed, GUILD)
