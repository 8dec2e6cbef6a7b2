"""Rules, alerts, dashboards and the configurations of Prometheus and Alertmanager."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from deploy.grafana.build_dashboards import ANNOTATIONS, FOLDER, VARIABLES, build
from deploy.grafana.panels import DASHBOARDS
from shared.runtime.metrics import Metrics
from shared.topics import SERVICES

ROOT = Path(__file__).parents[2]
PROMETHEUS, ALERTMANAGER = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "alertmanager"
CASES = sorted((Path(__file__).parent / "alerts").glob("*.yml"))
# Written by Prometheus itself, and by the Python client about its process.
OTHER_METRICS = {"up", "ALERTS"}
PROCESS_METRICS = {
    "process_resident_memory_bytes", "process_virtual_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
    "process_max_fds", "process_start_time_seconds",
}  # fmt: skip
TARGET_LABELS = {"job", "instance", "service", "alertname", "alertstate"}
# A row of the table.
DOCUMENTED = re.compile(r"^\| `(headrace_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)


@cache
def rules() -> list[dict[str, Any]]:
    groups = [yaml.safe_load(path.read_text())["groups"] for path in sorted((PROMETHEUS / "rules").glob("*.yml"))]
    return [rule for each in groups for group in each for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}
EXPRESSIONS = {
    **{rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()},
    **{
        f"{spec.title}: {panel.title} ({number})": query.expr
        for spec in DASHBOARDS
        for _, panels in spec.rows
        for panel in panels
        for number, query in enumerate(panel.queries)
    },
    **{f"annotation {name}": expr for name, (_, _, expr) in ANNOTATIONS.items()},
}


@cache
def documented() -> dict[str, set[str]]:
    """The names of all series that docs/metrics.md describes, with their labels."""
    names: dict[str, set[str]] = {}
    for name, kind, labels in DOCUMENTED.findall((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")):
        for ending in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            names[name + ending] = set(re.findall(r"`(\w+)`", labels)) | ({"le"} if ending == "_bucket" else set())
    return names


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """The selectors of an expression."""

    def visit(node: Any) -> Iterator[Any]:
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        for attribute in ("lhs", "rhs", "expr", "args", "param", "vector_selector", "vs", "selector"):
            inner = getattr(node, attribute, None)
            for each in inner if isinstance(inner, list) else [inner]:
                if each is not None and not isinstance(each, str):
                    yield from visit(each)

    yield from visit(promql_parser.parse(expression))


def name_of(selector: promql_parser.VectorSelector) -> str:
    assert selector.name is not None
    return str(selector.name)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_uses_only_metrics_and_labels_that_are_documented(name: str) -> None:
    expression = EXPRESSIONS[name]
    all_selectors = list(selectors(expression))
    known = documented()

    words = set(re.findall(r"\b(?:headrace[_:]\w[\w:]*|process_\w+|up|ALERTS)\b", re.sub(r'"[^"]*"', "", expression)))
    assert {name_of(each) for each in all_selectors} == words, "the walk misses a selector"
    assert words <= known.keys() | RECORDED.keys() | OTHER_METRICS | PROCESS_METRICS
    for each in all_selectors:
        labels = {matcher.name for matcher in each.matchers.matchers}
        if name_of(each) in known:
            assert labels <= known[name_of(each)] | TARGET_LABELS, name_of(each)


def test_a_misspelled_metric_is_not_documented() -> None:
    (selector,) = selectors('sum(rate(headrace_records_totals{topic="raw-events"}[5m])) > 0')

    assert name_of(selector) not in documented()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_means_and_where_its_runbook_is(name: str) -> None:
    rule = ALERTS[name]
    annotations = rule["annotations"]

    file, _, anchor = annotations["runbook_url"].partition("#")
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert annotations["summary"]
    assert len(annotations["description"]) > 40
    assert anchor in headings(ROOT / file)


@cache
def headings(document: Path) -> list[str]:
    """The anchors of the headings of the second level."""
    lines = re.findall(r"^## (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in lines]


def test_the_runbooks_have_a_heading_for_each_alert_and_for_nothing_else() -> None:
    assert headings(ROOT / "docs" / "runbooks.md") == [name.lower() for name in ALERTS]


@pytest.mark.parametrize("name", ALERTS)
def test_every_part_of_a_runbook_exists(name: str) -> None:
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]

    assert [part for part in ("**Meaning.**", "**See more.**", "**Do.**") if part not in section] == []
    assert re.search(r"headrace [a-z]|curl|docker|SELECT|df ", section), "a runbook has commands"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_firing_a_quiet_and_a_paused_case(name: str) -> None:
    assert {f"{name}: firing", f"{name}: quiet", f"{name}: paused"} <= set(names_of_cases())


def test_a_case_has_a_name_of_its_own() -> None:
    assert len(names_of_cases()) == len(set(names_of_cases()))


@cache
def names_of_cases() -> list[str]:
    return [each["name"] for path in CASES for each in yaml.safe_load(path.read_text())["tests"]]


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    """Paths of promtool and amtool."""
    paths = {name: shutil.which(name) for name in ("promtool", "amtool")}
    if missing := [name for name, path in paths.items() if path is None]:
        pytest.skip(f"no {' and '.join(missing)}: install Debian's packages prometheus and prometheus-alertmanager")
    return {name: str(path) for name, path in paths.items()}


def check(*command: str | Path) -> str:
    # Go collects garbage less often, which saves promtool a quarter of its CPU time.
    environment = os.environ | {"GOGC": "800"}
    process = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.prometheus
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_on_their_fault_clear_and_stay_quiet_otherwise(tools: dict[str, str], path: Path) -> None:
    assert "SUCCESS" in check(tools["promtool"], "test", "rules", path)


@pytest.mark.prometheus
def test_a_case_fails_if_its_alert_is_changed(tools: dict[str, str], tmp_path: Path) -> None:
    """Without its exception for pauses, an alert about a backlog fires on a paused system."""
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        text = path.read_text().replace("unless on (service, topic) max_over_time(headrace:paused:max[15m]) == 1", "")
        (tmp_path / path.name).write_text(text)
    (services,) = (path for path in CASES if path.stem == "services")
    case = yaml.safe_load(services.read_text())
    case["rule_files"] = [str(tmp_path / "recording.yml"), str(tmp_path / "alerts.yml")]
    case["tests"] = [each for each in case["tests"] if each["name"] == "LagGrowing: paused"]
    (tmp_path / "case.yml").write_text(yaml.safe_dump(case))

    command = [tools["promtool"], "test", "rules", str(tmp_path / "case.yml")]
    process = subprocess.run(command, check=False, capture_output=True, text=True)

    assert process.returncode == 1
    assert "LagGrowing" in process.stdout + process.stderr


@pytest.mark.prometheus
def test_prometheus_accepts_its_configuration(tools: dict[str, str]) -> None:
    check(tools["promtool"], "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.prometheus
@pytest.mark.parametrize("name", ["alertmanager.yml", "discord.yml"])
def test_alertmanager_accepts_its_configuration(tools: dict[str, str], tmp_path: Path, name: str) -> None:
    """Debian's Alertmanager is older than `webhook_url_file`, so here the URL is in the configuration."""
    text = (ALERTMANAGER / name).read_text()
    url = "webhook_url: https://discord.com/api/webhooks/1/x"
    (tmp_path / name).write_text(re.sub(r"webhook_url_file: \S+", url, text))

    check(tools["amtool"], "check-config", tmp_path / name)


def test_the_webhook_of_discord_is_read_from_a_file() -> None:
    config = yaml.safe_load((ALERTMANAGER / "discord.yml").read_text())
    overlay = yaml.safe_load((ROOT / "deploy" / "docker-compose.discord.yml").read_text())

    (receiver,) = config["receivers"][0]["discord_configs"]
    assert receiver["webhook_url_file"] == f"/run/secrets/{overlay['services']['alertmanager']['secrets'][0]}"
    assert {config["route"]["receiver"], *(each["receiver"] for each in config["route"]["routes"])} == {"discord"}


def test_alerts_that_are_inhibited_exist() -> None:
    for name in ("alertmanager.yml", "discord.yml"):
        for rule in yaml.safe_load((ALERTMANAGER / name).read_text())["inhibit_rules"]:
            matchers = " ".join(rule["source_matchers"] + rule["target_matchers"])
            assert set(re.findall(r"\b[A-Z]\w+", matchers)) <= ALERTS.keys()


def test_prometheus_scrapes_every_replica_of_every_service() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    (discovery,) = scrape["dns_sd_configs"]
    (relabel,) = scrape["relabel_configs"]

    assert discovery["names"] == list(SERVICES)
    assert (discovery["type"], discovery["port"]) == ("A", 8080)
    for name in ("loader", "loader.headrace.svc.cluster.local"):
        assert re.fullmatch(relabel["regex"], name)[1] == "loader"  # type: ignore[index]


@pytest.mark.parametrize("spec", DASHBOARDS, ids=lambda spec: spec.uid)
def test_the_committed_dashboard_is_the_built_one(spec: Any) -> None:
    committed = (FOLDER / f"{spec.uid}.json").read_text(encoding="utf-8")

    assert committed == build(spec), "run: python -m deploy.grafana.build_dashboards"


def test_there_are_seven_dashboards_and_no_other_file() -> None:
    titles = [json.loads(path.read_text(encoding="utf-8"))["title"] for path in FOLDER.iterdir()]

    assert sorted(titles) == sorted(
        f"Headrace / {name}"
        for name in (
            "Is it well?", "Pipeline", "Sources", "Data quality", "Predictions", "Notifications and operators",
            "Underneath",
        )
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_declares_its_variables_and_no_panels_overlap(path: Path) -> None:
    dashboard: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    declared = {each["name"] for each in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"]))) <= declared
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_variable_is_a_label_of_its_metric() -> None:
    for name, query in VARIABLES.items():
        metric, label = re.findall(r"\w+", query)[1:]
        assert label == name
        assert label in documented()[metric]


def test_every_documented_metric_is_defined() -> None:
    assert {each.name for each in Metrics().definitions} == {
        re.sub("_(bucket|sum|count)$", "", name) if "le" in labels or name.endswith(("_sum", "_count")) else name
        for name, labels in documented().items()
    }
