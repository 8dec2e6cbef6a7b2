"""The commands `headrace rules`: check a rule file, and test it on stored days."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.database.access import open_existing_database
from headrace.database.embedded import EmbeddedPostgres
from headrace.rules.deliveries import Delivery, deliveries_of
from headrace.rules.history import read_history, read_only_snapshot
from headrace.rules.rehearsal import rehearse
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.days import DayOptions
from headrace.terminal.output import print_answer, print_json, print_note
from services.notifier.alerts.alert_rules import RuleLimits, limits_of
from services.notifier.rules.file import DEFAULT_FILE, RuleSource, read_rules
from services.notifier.rules.model import duration_text
from services.notifier.rules.rule_book import DEFAULT_THRESHOLDS, NamedRule, RuleBook
from services.notifier.settings import NotifierSection, NotifierSettings
from services.notifier.storage.postgres_facts import day_rows
from services.notifier.texts.message import plain_text
from shared.errors import ConfigError
from shared.settings.loading import load

RULE_COLUMNS = ("rule", "finding", "threshold", "for", "filters", "to", "quiet_hours", "expires")
DELIVERY_COLUMNS = ("at", "rule", "address", "subject", "outcome", "digest", "text")
FILTERS = ("states", "venues", "sources", "entities", "grades", "markets")

app = typer.Typer(help="Rules of notifications.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def rules() -> None:
    """Rules of notifications."""


@app.command()
@grouped_options
def check(
    options: DatabaseOptions,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The rule file. [default: that in use]")] = None,
    output: OutputOption = Output.TABLE,
    wide: WideOption = False,
) -> None:
    """Check a rule file, and show what goes where.

    Exit code 2: the file has problems. Each is printed with its line, its key and what to do.
    """
    source, book, section = _load(options, file)
    bodies = [_rule_body(rule, book, section.channels) for rule in book.rules]
    body = {"file": _name(source), "sha256": source.digest, "time_zone": book.file.time_zone, "rules": bodies}
    rows = [_rule_row(each, limits_of(rule, book)) for each, rule in zip(bodies, book.rules, strict=True)]
    print_answer(output, body, RULE_COLUMNS, rows, "the file has no rules: nothing is notified", wide=wide)
    if output is Output.TABLE:
        print_note(f"{_name(source)} is valid; quiet hours are in {book.file.time_zone}")


@app.command("test")
@grouped_options
def rehearse_rules(
    options: DatabaseOptions,
    days: DayOptions,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The rule file. [default: that in use]")
    ] = None,
    output: OutputOption = Output.TABLE,
    wide: WideOption = False,
) -> None:
    """Show what the rules would have notified about the events of some days, from the stored facts and predictions.

    Nothing is written or sent. Each fact counts at the time from which it could be known; quiet hours, expiry, pace and
    digests are applied in this time. Mutes, subscriptions and alerts about the pipeline are left out.
    """
    first, last = _days(days.required_days())
    _, book, section = _load(options, file)
    with (
        open_existing_database(options.settings) as access,
        access.connect("headrace rules test") as connection,
        read_only_snapshot(connection),
    ):
        history = read_history(connection, first, last)
        notifications = rehearse(history, book, partial(day_rows, connection))
    deliveries = deliveries_of(notifications, book, section.channels)
    if output is Output.JSON:
        body = {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "notifications": [_body(each) for each in deliveries],
        }
        print_json(body)
        return
    rows = [_body(each) | {"text": plain_text(each.notification.text)} for each in deliveries]
    none = "the rules select nothing of these days"
    print_answer(output, rows, DELIVERY_COLUMNS, rows, none, times=("at",), wide=wide)


def _load(options: DatabaseOptions, file: Path | None) -> tuple[RuleSource, RuleBook, NotifierSection]:
    """The rule file, its rules, and the settings of the notifier on this machine. Raises ConfigError."""
    defaults = {"database.url": EmbeddedPostgres(options.settings.data_dir).url()}
    section = load(NotifierSettings, os.environ, options.config, defaults).notifier
    source = read_rules(file or section.rules_file)
    return source, RuleBook(source.parse(), {**DEFAULT_THRESHOLDS, **section.thresholds}), section


def _name(source: RuleSource) -> str:
    return str(source.file or DEFAULT_FILE.name)


def _days(days: Mapping[str, object]) -> tuple[date, date]:
    first, last = (date.fromisoformat(str(days[name])) for name in ("from", "to"))
    if last < first:
        raise ConfigError(f"--to {last} is before --from {first}")
    return first, last


def _rule_body(named: NamedRule, book: RuleBook, channels: Sequence[str]) -> dict[str, Any]:
    rule, hours = named.rule, named.rule.quiet_hours
    limits = limits_of(named, book)
    return {
        "rule": named.name,
        "finding": rule.finding,
        "threshold": limits.threshold,
        "unit": limits.unit or None,
        "for_s": limits.for_s,
        "filters": {key: list(values) for key in FILTERS if (values := getattr(rule, key)) is not None},
        "to": list(book.addresses(named.name, channels)),
        "quiet_hours": hours and {"from": f"{hours.start:%H:%M}", "to": f"{hours.end:%H:%M}", "then": hours.then},
        "expires_s": rule.expires_s,
    }


def _rule_row(body: Mapping[str, Any], limits: RuleLimits) -> dict[str, Any]:
    hours, for_s, expires_s = body["quiet_hours"], limits.for_s, body["expires_s"]
    filters = [f"{key}: {', '.join(map(str, values))}" for key, values in body["filters"].items()]
    return {
        **body,
        "threshold": limits.threshold_text,
        "for": None if for_s is None else duration_text(for_s) if for_s else "at once",
        "filters": "; ".join(filters) or None,
        "to": ", ".join(body["to"]),
        "quiet_hours": hours and f"{hours['from']} to {hours['to']}, then {hours['then']}",
        "expires": None if expires_s is None else duration_text(expires_s),
    }


def _body(delivery: Delivery) -> dict[str, Any]:
    notification = delivery.notification
    return {
        "at": delivery.at.isoformat(),
        "recorded_at": notification.recorded_at.isoformat(),
        "rule": notification.rule,
        "address": delivery.address,
        "subject": notification.subject,
        "outcome": delivery.outcome,
        "reason": delivery.reason,
        "digest": delivery.digest,
        "record_id": str(notification.record_id),
        "text": notification.text,
    }
