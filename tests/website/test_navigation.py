from __future__ import annotations

import pytest

from website.navigation import MAP, Page, Section, UnlistedPage, navigation, read_sections

TEXT = """# Documentation

## Start

| Front | [Headrace](../README.md) |
| Try | [your first hour](tutorial.md), [part of it](tutorial.md#part) |

## Why

| Reasons | [decisions](adr/README.md), [API](openapi), [code](../code/x.py) |
"""
FOLDERS = {"docs/adr/README.md", "docs/adr/0001-a.md", "docs/adr/0002-b.md", "docs/openapi/README.md"}
PAGES = {"README.md", MAP, "docs/tutorial.md"} | FOLDERS


def test_sections_follow_the_map_and_folders_bring_their_pages() -> None:
    assert read_sections(TEXT, PAGES) == [
        Section(
            "Start",
            [Page("Headrace", "README.md"), Page("All documents", MAP), Page("Your first hour", "docs/tutorial.md")],
        ),
        Section(
            "Why",
            [
                Page("Decisions", "docs/adr/README.md", ("docs/adr/0001-a.md", "docs/adr/0002-b.md")),
                Page("API", "docs/openapi/README.md"),
            ],
        ),
    ]


def test_a_folder_is_a_section_of_its_own() -> None:
    sections = [Section("Why", [Page("A", "a.md"), Page("B", "b/README.md", ("b/c.md",))])]

    assert navigation(sections) == [{"Why": [{"A": "a.md"}, {"B": [{"Overview": "b/README.md"}, "b/c.md"]}]}]


def test_a_page_that_the_map_does_not_name_is_an_error() -> None:
    with pytest.raises(UnlistedPage, match=r"does not link to docs/lonely\.md"):
        read_sections(TEXT, PAGES | {"docs/lonely.md"})
