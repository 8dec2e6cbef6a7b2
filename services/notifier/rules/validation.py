"""Validates the content of a rule file, and reports all its problems at once, each with its line and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from services.notifier.kinds import EVENT_KINDS
from services.notifier.rules.kind_keys import KEYS_OF_KIND, KIND_KEYS, THRESHOLDS
from services.notifier.rules.model import (
    ChannelTarget,
    ConsoleTarget,
    DiscordBotTarget,
    DiscordTarget,
    EmailTarget,
    Rule,
    RuleFile,
    SlackTarget,
    WebhookTarget,
    address_of,
)
from services.notifier.rules.problem_texts import EXAMPLES, did_you_mean, listed, problem_text
from services.notifier.rules.yaml_tree import FileProblem, Path, YamlDocument, parse
from services.notifier.texts.templates import InvalidTemplate, compile_template
from services.notifier.texts.variables import samples_of
from shared.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

MAX_PROBLEMS = 100

TARGETS: Mapping[str, type[BaseModel]] = MappingProxyType({
    "console": ConsoleTarget,
    "discord": DiscordTarget,
    "discord-bot": DiscordBotTarget,
    "webhook": WebhookTarget,
    "slack": SlackTarget,
    "email": EmailTarget,
})  # fmt: skip


CanSend = Callable[[str, bool], bool]
"""Whether the notifier can send to an address; the second argument tells whether the rule file has its recipients."""


def can_send_everywhere(_address: str, _has_recipients: bool) -> bool:
    return True


def parse_rules(content: bytes, origin: str, can_send: CanSend = can_send_everywhere) -> RuleFile:
    """The rules in the content of a file. Raises ConfigError with one line for each problem; `origin` is the file."""
    document, problems = parse(content)
    if problems and not isinstance(document.value, Mapping):
        raise _error(problems, origin)
    file, further_problems = _validate(document, can_send)
    # A value that the parser left out is not reported a second time.
    reported = {problem.path for problem in problems}
    problems += [each for each in further_problems if reported.isdisjoint(_prefixes(each.path))]
    if problems:
        raise _error(problems, origin)
    return file


def _error(problems: Iterable[FileProblem], origin: str) -> ConfigError:
    lines = [f"{origin}:{problem}" for problem in sorted(set(problems), key=lambda each: (each.line, str(each)))]
    more = [f"{origin}: {len(lines) - MAX_PROBLEMS} more problems"] if len(lines) > MAX_PROBLEMS else []
    return ConfigError("\n".join(lines[:MAX_PROBLEMS] + more))


def _prefixes(path: Path) -> Iterator[Path]:
    """The path itself and those of the values around it."""
    return (path[:length] for length in range(len(path) + 1))


def _validate(document: YamlDocument, can_send: CanSend) -> tuple[RuleFile, list[FileProblem]]:
    """The file, which is empty if there are problems, and the problems."""
    check = _Check(document)
    root = document.value
    if not isinstance(root, Mapping):
        check.report((), "expected a mapping with the key rules; write rules: and the rules below it")
        return RuleFile(), check.problems
    # Both sections are validated entry by entry, so that a problem in one does not hide those of others.
    sections = {name: check.section(root, name) for name in ("channels", "rules")}
    check.model(RuleFile, {name: value for name, value in root.items() if name not in sections}, ())
    if "rules" not in root:
        check.report((), f"rules: is missing; {EXAMPLES['rules']}")
    channels = {name: check.channel(name, value) for name, value in sections["channels"].items()}
    rules = {name: check.rule(name, value) for name, value in sections["rules"].items()}
    check.addresses({name: target for name, target in channels.items() if target is not None}, can_send)
    for name, rule in rules.items():
        if rule is not None:
            check.references(name, rule, sorted(channels))
            check.keys_of_kind(name, rule)
            check.template(name, rule)
    if check.problems:
        return RuleFile(), check.problems
    file = check.model(RuleFile, {**root, "channels": sections["channels"], "rules": sections["rules"]}, ())
    return file or RuleFile(), check.problems


class _Check:
    """Collects the problems of one document."""

    def __init__(self, document: YamlDocument) -> None:
        self._document = document
        self.problems: list[FileProblem] = []

    def report(self, path: Path, text: str) -> None:
        self.problems.append(FileProblem(self._document.line_of(path), path, text))

    def section(self, root: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = root.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.report((name,), f"expected a mapping; {EXAMPLES[name]}")
            return {}
        return value

    def model(self, model: type[M], value: object, path: Path) -> M | None:
        """The validated model; None after reporting its problems."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self._report_all(error, model, path)
            return None

    def channel(self, name: str, value: object) -> ChannelTarget | None:
        path: Path = ("channels", name)
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if not isinstance(kind, str) or kind not in TARGETS:
            hint = did_you_mean(kind, TARGETS) or f"write kind: and one of {', '.join(TARGETS)}"
            where: Path = (*path, "kind") if isinstance(value, Mapping) and "kind" in value else path
            self.report(where, f"expected the kind of a channel; {hint}")
            return None
        self._check_name(path)
        target: Any = self.model(TARGETS[kind], value, path)
        return target  # type: ignore[no-any-return]

    def rule(self, name: str, value: object) -> Rule | None:
        """The validated rule; after reporting problems, a rule without the keys that have one, if that is possible."""
        path: Path = ("rules", name)
        self._check_name(path)
        if not isinstance(value, Mapping):
            self.report(path, "expected a mapping; write {finding: KIND, ...}")
            return None
        try:
            return Rule.model_validate(value)
        except ValidationError as error:
            invalid_keys = self._report_all(error, Rule, path)
        valid_part = {key: each for key, each in value.items() if key not in invalid_keys}
        return Rule.model_validate(valid_part) if "finding" in valid_part else None

    def _report_all(self, error: ValidationError, model: type[BaseModel], path: Path) -> set[object]:
        """Report the problems of the model at this path. Returns its keys that have one."""
        all_details = error.errors(include_url=False)
        locations = [details["loc"] for details in all_details]
        for details in all_details:
            location = details["loc"]
            # A list whose items are invalid is reported as too short, too.
            if any(other != location and other[: len(location)] == location for other in locations):
                continue
            where = (*path, *location)
            self.report(where, problem_text(details, where, model))
        return {location[0] for location in locations if location}

    def _check_name(self, path: Path) -> None:
        """The pattern of names, with the path of the name."""
        section, name = str(path[0]), str(path[1])
        known: Any = {section: {name: {"kind": "console"} if section == "channels" else {"finding": "tip"}}}
        try:
            RuleFile.model_validate(known)
        except ValidationError:
            text = "expected a name of at most 40 lower-case letters, digits and hyphens that begins with a letter"
            self.report(path, f"{text}; rename it")

    def addresses(self, channels: Mapping[str, ChannelTarget], can_send: CanSend) -> None:
        """Two names of one address would have two paces. What no channel sends would wait without an end."""
        names: dict[str, str] = {}
        for name, target in channels.items():
            address = address_of(name, target)
            first = names.setdefault(address, name)
            if first != name:
                self.report(("channels", name), f"it has the same address as {first}; use {first} instead")
            elif not can_send(address, isinstance(target, EmailTarget) and target.to is not None):
                text = f"this notifier cannot send to {address}; configure it in the settings, or remove it here"
                self.report(("channels", name), text)

    def references(self, name: str, rule: Rule, channels: Sequence[str]) -> None:
        for index, channel in enumerate(rule.to or ()):
            if channel not in channels:
                hint = did_you_mean(channel, channels) or "add it to channels"
                self.report(("rules", name, "to", index), f"there is no channel {channel}; {hint}")

    def keys_of_kind(self, name: str, rule: Rule) -> None:
        allowed = KEYS_OF_KIND[rule.finding]
        for key in KIND_KEYS - allowed:
            if getattr(rule, "for_s" if key == "for" else key) is not None:
                text = f"a rule about {rule.finding} cannot have this key; remove it"
                self.report(("rules", name, key), text + (f", or use {listed(allowed)}" if allowed else ""))
        bounds = THRESHOLDS.get(rule.finding)
        if rule.threshold is None or rule.finding not in EVENT_KINDS:
            return
        path = ("rules", name, "threshold")
        if bounds is None:
            self.report(path, f"a rule about {rule.finding} has no threshold; remove it")
        elif not bounds.lowest <= rule.threshold <= bounds.highest:
            text = f"expected a number from {bounds.lowest:,} to {bounds.highest:,} ({bounds.meaning})"
            self.report(path, f"{text}, got {rule.threshold:g}; correct it")

    def template(self, name: str, rule: Rule) -> None:
        if rule.template is None:
            return
        path: Path = ("rules", name, "template")
        try:
            compile_template(rule.template, samples_of(rule.finding))
        except InvalidTemplate as error:
            first_line = self._document.text_lines.get(path, self._document.line_of(path))
            self.problems += [FileProblem(first_line + line - 1, path, text) for line, text in error.problems]
