"""The notifier's REST endpoints about its rules: show them, and load their file again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.notifier.alerts.alert_rules import limits_of
from services.notifier.kinds import FindingKind
from services.notifier.rules.active_rules import ActiveRules
from services.notifier.rules.model import QuietHours
from services.notifier.rules.rule_book import NamedRule, RuleBook
from shared.database.connection import DbConnection
from shared.errors import HeadraceError
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ChangeResult, apply_change, capture_refusal
from shared.runtime.metrics import Metrics

RULE_EXAMPLE: JsonDict = {
    "name": "tip", "finding": "tip", "addresses": ["console"], "threshold": 0.75,
    "filters": {"venues": [7], "states": ["observation"]}, "for_s": None, "expires_s": 1800,
    "quiet_hours": {"from": "22:00:00", "to": "07:00:00", "then": "wait"}, "template": None,
}  # fmt: skip
RULES_EXAMPLE: JsonDict = {
    "file": "rules.yaml", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "loaded_at": "2026-01-31T09:00:00Z", "error": None, "failed_at": None, "time_zone": "Asia/Tokyo",
    "rules": [RULE_EXAMPLE],
}  # fmt: skip
FILTERS = ("states", "venues", "sources", "entities", "grades", "markets")


class QuietHoursBody(BaseModel):
    """Times of day in the time zone of the rules."""

    start: time = Field(serialization_alias="from")
    end: time = Field(serialization_alias="to")
    then: Literal["wait", "drop"]


class RuleBody(BaseModel):
    """A rule in use."""

    model_config = ConfigDict(json_schema_extra={"examples": [RULE_EXAMPLE]})

    name: str
    finding: FindingKind
    addresses: list[str] = Field(description="where its notifications go, besides subscriptions")
    threshold: float | None = Field(description="null: its kind has none")
    filters: dict[str, list[str | int]] = Field(description="values that pass, by filter")
    for_s: float | None = Field(description="seconds that the cause of an alert lasts; null: not an alert")
    expires_s: float | None = Field(description="seconds after which a notification is no longer sent")
    quiet_hours: QuietHoursBody | None
    template: str | None = Field(description="null: that of its kind")


class RulesBody(BaseModel):
    """The rules in use, and the error of their file if it is not valid any more."""

    model_config = ConfigDict(json_schema_extra={"examples": [RULES_EXAMPLE]})

    file: str | None = Field(description="notifier.rules_file; null: the rules that ship with Headrace")
    sha256: str = Field(description="of the file's content that is in use")
    loaded_at: datetime
    error: str | None = Field(description="why the file as it is now is not in use, one line for each problem")
    failed_at: datetime | None = Field(description="time of the error")
    time_zone: str = Field(description="of quiet hours")
    rules: list[RuleBody]


def router(context: AdminContext, active: ActiveRules, channels: Sequence[str]) -> APIRouter:
    """`channels`: the addresses of rules that name none."""
    router = APIRouter(tags=["notifier"])

    @router.get("/rules", summary="List the rules of notifications")
    def list_rules() -> RulesBody:
        """The rules that this replica uses, and the error of their file if it was not valid when it changed."""
        return rules_body(active, channels)

    @router.post("/rules/reload", summary="Load the rules again", response_model=RulesBody)
    def reload_rules(request: Request) -> Response:
        """This replica loads the file now; each replica does so within 5 s after a change.

        422: the file is not valid. The rules before stay in use.
        """
        before = active.status().digest
        refusal = capture_refusal(active.reload)

        def work(_connection: DbConnection) -> ChangeResult:
            if isinstance(refusal, HeadraceError):
                raise refusal
            body = rules_body(active, channels)
            return ChangeResult(HTTPStatus.OK, body, before={"sha256": before}, after={"sha256": body.sha256})

        return apply_change(context, request, "reload rules", str(active.status().file or "default"), work)

    return router


def rules_body(active: ActiveRules, channels: Sequence[str]) -> RulesBody:
    status, book = active.status(), active.book()
    return RulesBody(
        file=None if status.file is None else str(status.file),
        sha256=status.digest,
        loaded_at=status.loaded_at,
        error=status.error,
        failed_at=status.failed_at,
        time_zone=book.file.time_zone,
        rules=[_rule_body(each, book, channels) for each in book.rules],
    )


def record_load(metrics: Metrics, book: RuleBook | None) -> None:
    """Set the metrics after a load; `book` is None after a failed one."""
    if book is None:
        metrics.notification_rules_load_errors_total.inc()
    else:
        metrics.notification_rules_loaded.set(len(book.rules))


def _rule_body(named: NamedRule, book: RuleBook, channels: Sequence[str]) -> RuleBody:
    rule, limits = named.rule, limits_of(named, book)
    return RuleBody(
        name=named.name,
        finding=rule.finding,
        addresses=list(book.addresses(named.name, channels)),
        threshold=limits.threshold,
        filters={key: list(values) for key in FILTERS if (values := getattr(rule, key)) is not None},
        for_s=limits.for_s,
        expires_s=rule.expires_s,
        quiet_hours=_quiet_hours_body(rule.quiet_hours),
        template=rule.template,
    )


def _quiet_hours_body(hours: QuietHours | None) -> QuietHoursBody | None:
    return None if hours is None else QuietHoursBody(start=hours.start, end=hours.end, then=hours.then)
