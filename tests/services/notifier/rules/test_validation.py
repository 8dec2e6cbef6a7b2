"""Rule files: each problem names its line, its key and what to do; nothing but ConfigError is ever raised."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.kinds import EventKind, FindingKind, PipelineKind
from services.notifier.rules.file import DEFAULT_FILE, read_rules
from services.notifier.rules.model import MAX_DURATION_S, Rule, RuleFile, duration_s, duration_text
from services.notifier.rules.validation import parse_rules
from services.notifier.rules.yaml_tree import MAX_SIZE_BYTES
from shared.errors import ConfigError

EXAMPLE = """\
time_zone: Asia/Tokyo
channels:
  races:   {kind: discord-bot, channel: "111111111111111111", pace: {burst: 5, every: 10s}}
  ops:     {kind: discord-bot, channel: 222222222222222222}
  mail:    {kind: email, to: [person@example.org], digest_every: 15m}
  console: {kind: console}
rules:
  tip:
    finding: tip
    threshold: 0.75
    states: [card, observation]
    venues: [7]
    to: [races, console]
    quiet_hours: {from: 22:00, to: "07:00", then: wait}
    expires: 30m
    template: |
      **Favourite** · {{ event }}
      {{ entry }}: {{ probability|percent }}
  stage-down:
    finding: stage-down
    for: 60s
    to: [ops]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse_rules(text.encode(), "rules.yaml")
    return str(raised.value).splitlines()


def rule(line: str) -> str:
    """A file whose line 5 is `line`, in a rule about tips."""
    return f"channels:\n  console: {{kind: console}}\nrules:\n  first: {{finding: tip}}\n  second: {line}\n"


def test_the_example_is_valid() -> None:
    file = parse_rules(EXAMPLE.encode(), "rules.yaml")

    tip = file.rules["tip"]
    assert (tip.threshold, tip.venues, tip.to, tip.expires_s) == (0.75, (7,), ("races", "console"), 1_800)
    assert tip.quiet_hours is not None
    assert f"{tip.quiet_hours.start:%H:%M}" == "22:00"
    assert file.rules["stage-down"].for_s == 60
    assert file.channels["ops"].model_dump()["channel"] == "222222222222222222"


def test_the_shipped_file_has_a_rule_of_every_kind() -> None:
    rules = read_rules(None).parse().rules
    kinds: tuple[FindingKind, ...] = (*get_args(EventKind), *get_args(PipelineKind))

    assert rules == {kind: Rule(finding=kind) for kind in kinds}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{finding: tip, treshold: 1}", "5: rules.second.treshold: unknown key; did you mean threshold?"),
        ("{finding: tipp}", "5: rules.second.finding: expected tip, big-payout"),
        ("{finding: tipp}", "did you mean tip?"),
        ("{}", "5: rules.second.finding: is missing; "),
        ("3", "5: rules.second: expected a mapping; write {finding: KIND, ...}"),
        (
            "{finding: tip, threshold: yes}",
            "threshold: expected a valid number, got 'yes'; write a number such as 0.75",
        ),
        ("{finding: tip, threshold: 2}", "threshold: expected a number from 0 to 1 (lowest win probability"),
        ("{finding: daily, threshold: 2}", "5: rules.second.threshold: a rule about daily has no threshold; remove it"),
        ("{finding: grade, states: [card]}", "states: a rule about grade cannot have this key; remove it, or use ent"),
        ("{finding: tip, for: 3s}", "5: rules.second.for: a rule about tip cannot have this key; remove it"),
        ("{finding: tip, states: [card, obs]}", "5: rules.second.states.1: expected card, observation, got 'obs'"),
        ("{finding: tip, states: []}", "5: rules.second.states: expected 1 to"),
        ("{finding: tip, venues: 7}", "venues: expected a list, got 7; write a list of numbers such as [7, 12]"),
        ("{finding: tip, venues: ['7']}", "venues.0: expected a valid integer, got '7'; write a list of numbers"),
        ("{finding: tip, to: [consol]}", "5: rules.second.to.0: there is no channel consol; did you mean console?"),
        ("{finding: tip, expires: 30}", "expires: expected a duration with its unit, such as 90s, 30m, 2h or 1h30m"),
        ("{finding: tip, expires: 0s}", "expires: expected a duration of 1s to 366d"),
        (
            "{finding: tip, quiet_hours: {from: 9:00, to: 10:00, then: wait}}",
            "quiet_hours.from: expected a time of day",
        ),
        ("{finding: tip, quiet_hours: {from: 09:00, to: 09:00, then: wait}}", "quiet_hours: from and to are equal"),
        ("{finding: tip, quiet_hours: {from: 09:00, to: 10:00}}", "quiet_hours.then: is missing; write wait or drop"),
        (
            "{finding: tip, template: '{{ evnt }}'}",
            "5: rules.second.template: unknown variable evnt; did you mean event?",
        ),
        (
            "{finding: tip, finding: tip}",
            "5: rules.second.finding: the key is already in line 5; remove one of the two",
        ),
        ("{finding: !!python/name:os.system ''}", "5: rules.second.finding: the tag"),
        ("{finding: tip, to: [console}", "5: this is not YAML"),
        (
            '{finding: tip, template: "\\0"}',
            "5: rules.second.template: the text contains a control character; remove it",
        ),
        ("{finding: tip}\n  Third: {finding: tip}", "6: rules.Third: expected a name of at most 40 lower-case letters"),
    ],
)
def test_a_problem_in_a_rule_is_reported(line: str, problem: str) -> None:
    found_problems = problems(rule(line))

    assert len(found_problems) == 1
    assert f"rules.yaml:{problem}" in found_problems[0] or problem in found_problems[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: expected a mapping with the key rules"),
        ("time_zone: UTC", "1: rules: is missing; write NAME: {finding: KIND, ...} below it"),
        ("rules: []", "1: rules: expected a mapping; write NAME: {finding: KIND, ...} below it"),
        ("rules: {}\nchanels: {}", "2: chanels: unknown key; did you mean channels?"),
        ("rules: {}\ntime_zone: Asia/Tokio", "2: time_zone: expected the name of a time zone"),
        ("rules: {}\ntime_zone: Asia", "2: time_zone: expected the name of a time zone"),
        ("rules: {}\ntime_zone: ../../etc/passwd", "2: time_zone: expected the name of a time zone"),
        (
            "rules: {}\nchannels: {a: {kind: discrd}}",
            "2: channels.a.kind: expected the kind of a channel; did you mean",
        ),
        (
            "rules: {}\nchannels: {a: 3}",
            "2: channels.a: expected the kind of a channel; write kind: and one of console",
        ),
        ("rules: {}\nchannels: {a: {kind: discord-bot}}", "2: channels.a: expected either channel or user: the id"),
        (
            "rules: {}\nchannels: {a: {kind: discord-bot, user: x}}",
            "2: channels.a.user: expected another text, got 'x'",
        ),
        (
            "rules: {}\nchannels: {a: {kind: email, to: [x]}}",
            "2: channels.a.to.0: expected another text, got 'x'; write",
        ),
        (
            "rules: {}\nchannels:\n a: {kind: console}\n b: {kind: console}",
            "4: channels.b: it has the same address as a",
        ),
        (
            "rules: {}\nchannels: {a: {kind: console, pace: {every: 1s, brst: 1}}}",
            "pace.brst: unknown key; did you mean b",
        ),
        ("rules: \xff", "it is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_problem_outside_of_rules_is_reported(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_rules(text.encode("latin-1"), "rules.yaml")

    assert str(raised.value).startswith("rules.yaml:")
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_problems_are_reported_at_once_in_the_order_of_lines() -> None:
    text = EXAMPLE.replace("Tokyo", "Tokio").replace("[7]", "7").replace("10s}", "10}").replace("{{ event", "{{ evnt")

    assert [problem.split(": ")[:2] for problem in problems(text)] == [
        ["rules.yaml:1", "time_zone"],
        ["rules.yaml:3", "channels.races.pace.every"],
        ["rules.yaml:12", "rules.tip.venues"],
        ["rules.yaml:17", "rules.tip.template"],
    ]


def test_a_problem_of_a_template_has_its_line_in_the_file() -> None:
    (problem,) = problems(EXAMPLE.replace("{{ probability|percent }}", "{{ probability.shown() }}"))

    assert problem == (
        "rules.yaml:18: rules.tip.template: a call is not allowed in a template;"
        " use only variables, filters, if and for"
    )


def test_there_are_at_most_a_hundred_lines_of_problems() -> None:
    lines = problems("rules:\n" + "".join(f"  r{n}: 3\n" for n in range(150)))

    assert len(lines) == 101
    assert lines[-1] == "rules.yaml: 50 more problems"


def test_an_alias_may_be_used() -> None:
    text = "rules:\n  a: &a {finding: tip, venues: &venues [7]}\n  b: {finding: grade, venues: *venues}\n  c: *a\n"

    file = parse_rules(text.encode(), "rules.yaml")

    assert file.rules["b"].venues == (7,)
    assert file.rules["c"] == file.rules["a"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghi")),
        "rules: &a [*a]",
        "rules: &a {b: *a}",
        "[" * 50_000,
        "{a: " * 20_000,
        "- " * 30_000,
    ],
    ids=["aliases", "a list in itself", "a mapping in itself", "deep lists", "deep mappings", "deep blocks"],
)
def test_a_bomb_is_refused(text: str) -> None:
    assert problems(text)


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(b"rules: {}\n" + b"#" * MAX_SIZE_BYTES)

    with pytest.raises(ConfigError, match=r"rules.yaml:1: the file has 131,073 bytes; at most 131,072 are allowed"):
        read_rules(file).parse()


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.yaml: cannot read the rule file: No such file or directory"):
        read_rules(tmp_path / "missing.yaml")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["tip", "daily", "console", "email", "10s", "22:00", "{{ event }}", "{% if x %}", "discord-bot"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                [
                    "finding",
                    "threshold",
                    "to",
                    "kind",
                    "channel",
                    "user",
                    "pace",
                    "burst",
                    "every",
                    "quiet_hours",
                    "from",
                    "then",
                    "expires",
                    "template",
                    "venues",
                    "states",
                    "for",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
sections = st.fixed_dictionaries(
    {},
    optional={
        "time_zone": values,
        "channels": st.dictionaries(st.text(max_size=3), values, max_size=3) | values,
        "rules": st.dictionaries(st.text(max_size=3), values, max_size=3) | values,
    },
)


def parse_or_refuse(content: bytes) -> RuleFile | None:
    """A problem is a ConfigError whose lines all name the file; every other exception fails the test."""
    problems = ""
    try:
        return parse_rules(content, "rules.yaml")
    except ConfigError as error:
        problems = str(error)
    assert all(line.startswith("rules.yaml:") for line in problems.split("\n"))
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_valid_or_refused(content: bytes) -> None:
    parse_or_refuse(content)


@given(st.text(alphabet="rules:{}[]&*!|>-?#%@\"'\\ux0UN \n\tab,~<1.", max_size=80))
def test_any_text_of_yaml_characters_is_valid_or_refused(text: str) -> None:
    parse_or_refuse(text.encode())


@given(sections)
def test_any_values_are_valid_or_refused(content: object) -> None:
    parse_or_refuse(yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass"))


def _cuts() -> Iterator[bytes]:
    content = EXAMPLE.encode() + DEFAULT_FILE.read_bytes()
    yield from (content[:length] for length in range(0, len(content), 7))


def test_a_file_that_is_cut_anywhere_is_valid_or_refused() -> None:
    assert any(parse_or_refuse(cut) is None for cut in _cuts())


def test_a_channel_to_which_the_notifier_does_not_send_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_rules(EXAMPLE.encode(), "rules.yaml", lambda address, _: not address.endswith("2"))

    assert str(raised.value) == (
        "rules.yaml:4: channels.ops: this notifier cannot send to discord-bot/channel/222222222222222222; configure it"
        " in the settings, or remove it here"
    )


@given(st.integers(1, int(MAX_DURATION_S)))
def test_a_duration_is_shown_as_it_is_written(seconds: int) -> None:
    assert duration_s(duration_text(seconds)) == seconds


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "1m30s"), (5_400, "1h30m"), (86_400, "1d")])
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
