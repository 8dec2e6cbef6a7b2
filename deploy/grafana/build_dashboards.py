"""Builds the JSON of the dashboards from panels.py: `python -m deploy.grafana.build_dashboards` writes it.

A test compares the committed files. Grafana reads them through deploy/grafana/provisioning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.panels import DASHBOARDS, DashboardSpec, PanelSpec, Query

FOLDER = Path(__file__).parent / "dashboards"
DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
# The query that gives the values of a variable.
VARIABLES = {
    "service": "label_values(headrace_build_info, service)",
    "topic": "label_values(headrace_paused, topic)",
    "source": "label_values(headrace_fetch_requests_total, source)",
}
# An annotation is shown at each sample of its query: the minute in which a value changed.
ANNOTATIONS = {
    "Pauses": (
        "orange", "{{service}} paused on {{topic}}",
        "headrace:paused:max == 1 unless headrace:paused:max offset 1m == 1",
    ),
    "Resumes": (
        "green", "{{service}} resumed on {{topic}}",
        "headrace:paused:max == 0 and headrace:paused:max offset 1m == 1",
    ),
    "Promotions": (
        "blue", "model {{version}}",
        'max by (version) (headrace_model_info{version!="none"} unless headrace_model_info offset 1m)',
    ),
}  # fmt: skip
PANEL_HEIGHT = {"stat": 4, "timeseries": 8, "table": 8}
COLORS = ("green", "yellow", "red")


def build(spec: DashboardSpec) -> str:
    """The JSON of a dashboard."""
    builder = (
        dashboard.Dashboard(spec.title)
        .uid(spec.uid)
        .description(spec.description)
        .tags(["headrace"])
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("Headrace")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["headrace"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("datasource").type("prometheus"))
    )
    for name in spec.variables:
        builder = builder.with_variable(_variable(name))
    for name, (color, text, expr) in ANNOTATIONS.items():
        builder = builder.annotation(
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color(color)
            .expr(expr)
            .step("60s")
            .title_format(text)
        )
    for title, panels in spec.rows:
        builder = builder.with_row(dashboard.Row(title))
        for panel in panels:
            builder = builder.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(builder.build()) + "\n"


def write() -> None:
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for spec in DASHBOARDS:
        (FOLDER / f"{spec.uid}.json").write_text(build(spec), encoding="utf-8")


def _variable(name: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name)
        .datasource(DATASOURCE)
        .query(VARIABLES[name])
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def _panel(spec: PanelSpec) -> Builder[models.Panel]:
    # Their common base class lacks the methods that they share.
    kinds: dict[str, Any] = {"stat": stat.Panel, "timeseries": timeseries.Panel, "table": table.Panel}
    panel = (
        kinds[spec.kind]()
        .title(spec.title)
        .description(spec.description)
        .datasource(DATASOURCE)
        .unit(spec.unit)
        .height(PANEL_HEIGHT[spec.kind])
        .span(spec.width)
        .min(0 if spec.unit != "short" else None)
    )
    if spec.kind == "timeseries":
        panel = panel.fill_opacity(10).legend(common.VizLegendOptions().show_legend(True))
    if spec.limits:
        panel = panel.thresholds(_thresholds(spec.limits))
    for number, query in enumerate(spec.queries):
        panel = panel.with_target(_target(query, chr(ord("A") + number), spec.kind))
    return cast("Builder[models.Panel]", panel)


def _thresholds(limits: tuple[float, ...]) -> dashboard.ThresholdsConfig:
    colors = COLORS[1:] if len(limits) > 1 else COLORS[2:]
    steps = [models.Threshold(value=None, color=COLORS[0])]
    steps += [models.Threshold(value=limit, color=color) for limit, color in zip(limits, colors, strict=True)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, ref_id: str, kind: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref_id).legend_format(query.legend)
    if kind == "timeseries":
        return target.range()
    format_ = PromQueryFormat.TABLE if kind == "table" else PromQueryFormat.TIME_SERIES
    return target.instant().format(format_)


if __name__ == "__main__":
    write()
