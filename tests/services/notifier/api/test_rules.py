"""The notifier's endpoints about rules."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from headrace.database.embedded import EmbeddedPostgres
from services.notifier.api.rules import record_load, router
from services.notifier.rules.active_rules import ActiveRules
from services.notifier.settings import NotifierSettings
from shared.runtime.metrics import Metrics
from tests.services.endpoints import served, settings_of
from tests.shared.runtime.api.admin_apps import assert_problem

RULES = """\
time_zone: Asia/Tokyo
channels:
  races: {kind: discord-bot, channel: "111111111111111111"}
rules:
  tip:
    finding: tip
    venues: [7]
    to: [races]
    expires: 30m
    quiet_hours: {from: "22:00", to: "07:00", then: wait}
  stage-down: {finding: stage-down, for: 60s}
"""


def test_the_rules_are_shown_and_loaded_again(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> None:
    file, metrics = tmp_path / "rules.yaml", Metrics()
    file.write_text(RULES)
    active = ActiveRules(file, partial(datetime.now, UTC), on_load=partial(record_load, metrics))
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)

    with served(settings, lambda context: router(context, active, ["console"])) as client:
        first = client.get("/rules").json()
        file.write_text(RULES.replace("30m", "30"))
        refused = client.post("/rules/reload")
        failed = client.get("/rules").json()
        file.write_text(RULES.replace("30m", "40m"))
        loaded = client.post("/rules/reload")
        trail = client.get("/audit", params={"limit": 10}).json()

    assert (first["file"], first["time_zone"], first["error"]) == (str(file), "Asia/Tokyo", None)
    tip, stage_down = first["rules"]
    assert tip == {
        "name": "tip", "finding": "tip", "addresses": ["discord-bot/channel/111111111111111111"], "threshold": 0.75,
        "filters": {"venues": [7]}, "for_s": None, "expires_s": 1_800, "template": None,
        "quiet_hours": {"from": "22:00:00", "to": "07:00:00", "then": "wait"},
    }  # fmt: skip
    assert (stage_down["addresses"], stage_down["threshold"], stage_down["for_s"]) == (["console"], 1, 60)
    assert "rules.yaml:9: rules.tip.expires: expected a duration" in assert_problem(refused, 422, "invalid-input")
    assert failed["rules"] == first["rules"]
    assert "rules.tip.expires" in failed["error"]
    assert loaded.json()["rules"][0]["expires_s"] == 2_400
    assert loaded.json()["error"] is None
    assert [(each["action"], each["outcome"].split(":")[0]) for each in trail["lines"]] == [
        ("reload rules", "accepted"),
        ("reload rules", "refused (422)"),
    ]
    assert metrics.registry.get_sample_value("headrace_notification_rules_loaded") == 2
    assert metrics.registry.get_sample_value("headrace_notification_rules_load_errors_total") == 1
