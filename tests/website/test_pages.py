from __future__ import annotations

from website.pages import generated_pages

SCHEMA = '{"type": "object", "properties": {"a": {"type": "string"}}}'


def test_each_json_document_is_a_page_and_is_in_the_index_of_its_folder() -> None:
    pages = generated_pages({"docs/schemas/b.1.json": SCHEMA, "docs/schemas/a.1.json": SCHEMA, "docs/a.md": "# A"})

    assert set(pages) == {
        "docs/openapi/README.md",
        "docs/schemas/README.md",
        "docs/schemas/a.1.md",
        "docs/schemas/b.1.md",
    }
    assert pages["docs/schemas/README.md"].endswith("* [a.1](a.1.md)\n* [b.1](b.1.md)\n")
    assert "| `a` | string, optional |" in pages["docs/schemas/a.1.md"]


def test_the_package_frames_has_a_page_for_its_api() -> None:
    pages = generated_pages({"headrace/frames/__init__.py": ""})

    assert "::: headrace.frames\n" in pages["headrace/frames/README.md"]
