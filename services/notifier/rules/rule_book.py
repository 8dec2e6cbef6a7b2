"""Answers what the rules say about a finding: where it is sent, and whether and when.

Findings and alerts ask for the rules of their kind and for the addresses. The sender asks for the disposition of a
notification after it has claimed it, so a changed rule or a new mute applies to everything that waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import Template

from services.notifier.disposition import Disposition, Drop, HoldUntil, Mutes, SendNow
from services.notifier.kinds import PIPELINE_KINDS, FindingKind
from services.notifier.pacing import RateLimit
from services.notifier.rules.model import ChannelTarget, EmailTarget, QuietHours, Rule, RuleFile, address_of, rate_of
from services.notifier.rules.quiet_hours import quiet_until
from services.notifier.texts.default_templates import DEFAULT_TEMPLATES
from services.notifier.texts.templates import Rendering, compile_template, render_or_default
from services.notifier.texts.variables import samples_of

DEFAULT_THRESHOLDS: Mapping[FindingKind, float] = MappingProxyType(
    {"tip": 0.75, "big-payout": 50_000, "grade": 2, "surprise": 0.05, "called-off": 1}
)
"""Thresholds of rules that give none. The settings replace those of `tip` and `big-payout`."""


class NamedRule(NamedTuple):
    """A rule with its name in the file. `threshold` is that of the rule, or the default; 0 if its kind has none."""

    name: str
    threshold: float
    rule: Rule


@dataclass(frozen=True)
class RuleBook:
    """The rules of one file, whose templates are valid. `thresholds` are the defaults by kind."""

    file: RuleFile
    thresholds: Mapping[FindingKind, float] = field(default_factory=lambda: DEFAULT_THRESHOLDS)

    @cached_property
    def rules(self) -> tuple[NamedRule, ...]:
        """All rules, in the order of the file."""
        return tuple(NamedRule(name, self._threshold(rule), rule) for name, rule in self.file.rules.items())

    @cached_property
    def targets(self) -> Mapping[str, ChannelTarget]:
        """The channels of the file by address."""
        return MappingProxyType({address_of(name, target): target for name, target in self.file.channels.items()})

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.file.time_zone)

    def rules_of(self, kind: FindingKind) -> tuple[NamedRule, ...]:
        """The rules about this kind of finding, in the order of the file."""
        return tuple(each for each in self.rules if each.rule.finding == kind)

    def rule(self, name: str) -> NamedRule | None:
        """The rule with this name; None if the file has none."""
        return next((each for each in self.rules if each.name == name), None)

    def addresses(self, rule: str, defaults: Sequence[str]) -> tuple[str, ...]:
        """The addresses of the rule with this name, each once; `defaults` (notifier.channels) if it names no channel.

        Empty if there is no such rule.
        """
        declared = self.file.rules.get(rule)
        if declared is None:
            return ()
        if declared.to is None:
            return tuple(dict.fromkeys(defaults))
        return tuple(dict.fromkeys(address_of(name, self.file.channels[name]) for name in declared.to))

    def pace(self, address: str) -> RateLimit | None:
        """The rate that the file gives to an address; None if it gives none: the channel's own rate applies."""
        target = self.targets.get(address)
        return None if target is None else rate_of(target)

    def recipients(self, name: str) -> tuple[str, ...]:
        """The mail addresses that the file gives to `email/NAME`; empty if it gives none."""
        target = self.targets.get(f"email/{name}")
        return target.to or () if isinstance(target, EmailTarget) else ()

    def alerts(self) -> frozenset[str]:
        """The names of the rules about the pipeline. Their notifications are sent first and never in a digest."""
        return self._alerts

    def text_of(self, rule: str, kind: FindingKind, variables: Mapping[str, object]) -> Rendering:
        """The text of a finding by the template of the rule with this name, or by the default one of its kind.

        An incident may be older than its rule, which then may be about another kind: its template is not used.
        `variables` are those of texts/variables.py for the kind.
        """
        return render_or_default(self._templates.get((rule, kind)), self._default_templates[kind], variables)

    def expires_s(self, rule: str) -> float | None:
        """The seconds after which a notification of the rule is no longer sent; None if it does not expire."""
        declared = self.file.rules.get(rule)
        return None if declared is None else declared.expires_s

    def disposition(self, rule: str, address: str, created_at: datetime, now: datetime, mutes: Mutes) -> Disposition:
        """Whether a notification of the rule with this name may be sent to the address at `now`.

        Times are aware. The notifications of a rule that the file no longer has are sent.
        """
        if (muted_until := mutes.get(rule)) is not None and now < muted_until:
            return Drop(f"the rule {rule} is muted until {muted_until.isoformat(timespec='seconds')}")
        expires_s = self.expires_s(rule)
        if expires_s is not None and now >= (expires_at := created_at + timedelta(seconds=expires_s)):
            return Drop(f"it expired at {expires_at.isoformat(timespec='seconds')} (expires of the rule {rule})")
        waits: list[datetime] = []
        for owner, hours in self._quiet_hours(rule, address):
            end = quiet_until(hours, self.zone, now)
            if end is None:
                continue
            if hours.then == "drop":
                return Drop(f"it is within the quiet hours of {owner}")
            waits.append(end)
        return HoldUntil(max(waits)) if waits else SendNow()

    @cached_property
    def _alerts(self) -> frozenset[str]:
        return frozenset(name for name, rule in self.file.rules.items() if rule.finding in PIPELINE_KINDS)

    @cached_property
    def _templates(self) -> Mapping[tuple[str, FindingKind], Template]:
        return {
            (name, rule.finding): compile_template(rule.template, samples_of(rule.finding))
            for name, rule in self.file.rules.items()
            if rule.template is not None
        }

    @cached_property
    def _default_templates(self) -> Mapping[str, Template]:
        return {kind: compile_template(source, samples_of(kind)) for kind, source in DEFAULT_TEMPLATES.items()}

    def _quiet_hours(self, rule: str, address: str) -> list[tuple[str, QuietHours]]:
        """With their owners. A channel's quiet hours do not hold alerts back; a rule's own do."""
        declared, target = self.file.rules.get(rule), self.targets.get(address)
        hours = []
        if declared is not None and declared.quiet_hours is not None:
            hours.append((f"the rule {rule}", declared.quiet_hours))
        if target is not None and target.quiet_hours is not None and rule not in self._alerts:
            hours.append((f"the channel {address}", target.quiet_hours))
        return hours

    def _threshold(self, rule: Rule) -> float:
        return self.thresholds.get(rule.finding, 0) if rule.threshold is None else rule.threshold
