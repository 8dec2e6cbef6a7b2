"""The HTML page and the JSON form: hostile names, no resources from elsewhere, accessible tables, documented keys."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from headrace.quality.report import QualityReport
from headrace.quality.summary import summary_lines
from tests.headrace.quality.made_up_facts import AS_OF, DAY, RowsInMemory, report_of

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"
# HTML of the page itself.
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "span", "div", "table", "caption"),
    *("thead", "tbody", "tr", "th", "td", "details", "summary", "svg", "rect", "line"),
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def rows(name: str) -> RowsInMemory:
    """One event of a source whose every name is `name`."""
    event, session = f"{name}:2025-05-06:07:01", f"{name}:2025-05-06:07"
    entry = {"event_key": event, "entity_key": name, "measures": {name: 1.5}, "categories": {f"x{name}": name}}
    return RowsInMemory(
        {
            "sessions": [
                {"session_key": session, "source": name, "date": DAY, "venue": 7, "venue_name": name, "title": name,
                 "status": "settled", "grade": 1},
            ],
            "events": [
                {"event_key": event, "session_key": session, "number": 1, "status": "settled", "version": 1,
                 "scheduled_at": AS_OF - timedelta(days=9), "observed_at": AS_OF, "conditions": {name: 1},
                 "observed_conditions": {name: 2}, "missing_markets": [name], "title": name},
            ],
            "entries": [{**entry, "slot": 1}, {**entry, "slot": 2}],
            "transactions": [
                {"event_key": event, "market": name, "selection": name, "amount": 10**9, "ordinal": 1},
            ],
            "corrections": [
                {"event_key": event, "kind": "listed", "field": f"entries.1.measures.{name}", "old": "1", "new": "2",
                 "known_at": AS_OF, "record_id": "r"},
            ],
            "parked": [
                {"event_key": event, "kind": name, "reason": name, "parked_at": AS_OF, "record_id": "r"},
            ],
        },
        dead_letters=[{"service": name, "key": event, "error": name, "failed_at": AS_OF}],
    )  # fmt: skip


@pytest.fixture(scope="module")
def hostile() -> QualityReport:
    return report_of(rows(HOSTILE))


def test_a_hostile_name_is_shown_and_is_no_html(hostile: QualityReport) -> None:
    page = Page(hostile.html())

    assert set(page.tags) <= TAGS
    assert HOSTILE in page.text
    assert not [each for each in page.attributes if each[1].startswith("on")]
    assert page.tags == Page(report_of(rows("lake")).html()).tags
    assert page.open == []


def test_the_page_loads_nothing(hostile: QualityReport) -> None:
    text = report_of(rows("lake")).html()

    assert not re.search(r"https?:|//|url\(|@import|\bsrc=|\bhref=", text)


def test_tables_have_captions_and_headers_and_pictures_have_texts(hostile: QualityReport) -> None:
    page = Page(hostile.html())

    assert page.tags["table"] == page.tags["caption"] > 5
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(scopes) == page.tags["th"]
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == page.tags["svg"] > 5
    assert all(labels)
    assert ("html", "lang", "en") in page.attributes


def test_the_page_has_dark_colours_and_the_width_of_the_device(hostile: QualityReport) -> None:
    assert "prefers-color-scheme: dark" in hostile.html()
    assert "width=device-width" in hostile.html()


def test_json_has_the_documented_keys(hostile: QualityReport, repository: Path) -> None:
    report: dict[str, Any] = json.loads(hostile.json())
    document = (repository / "docs" / "quality.md").read_text()

    keys = {*report, *report["span"], *report["counts"], *report["findings"][0], *report["measures"][0]}
    assert {key for key in keys if f"`{key}`" not in document} == set()
    assert report["counts"]["errors"] == sum(each["severity"] == "error" for each in report["findings"])
    assert report["is_good"] is False


def test_json_has_every_row_of_the_frames(hostile: QualityReport) -> None:
    report = json.loads(hostile.json())

    assert [each["value"] for each in report["measures"]] == hostile.measures["value"].tolist()
    assert [each["text"] for each in report["findings"]] == hostile.findings["text"].tolist()


def test_every_measure_is_documented(hostile: QualityReport, repository: Path) -> None:
    from headrace.quality.measures.checks import CONTRADICTIONS, DUPLICATES
    from headrace.quality.thresholds import MEASURES

    document = (repository / "docs" / "quality.md").read_text()

    assert {name for name in (*MEASURES, *CONTRADICTIONS, *DUPLICATES) if f"`{name}`" not in document} == set()
    assert set(hostile.measures["measure"]) <= set(MEASURES)


def test_the_summary_has_the_counts_five_findings_and_the_verdict(hostile: QualityReport) -> None:
    lines = list(summary_lines(hostile))

    assert lines[0].startswith("2025-05-06: 1 events on 1 days, ")
    assert len(lines) == 1 + 5 + 1 + 1
    assert lines[1].startswith("error: ")
    assert lines[-1].startswith("failed: ")
