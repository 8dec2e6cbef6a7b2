"""Tables in the docs that are generated from the code, between two marks: tests compare them or write them."""

from __future__ import annotations

import os
from pathlib import Path

WRITE = "HEADRACE_WRITE_DOCS"


def compare(file: Path, name: str, expected: str) -> None:
    """Fail if the text between the marks of the file is not as expected; with HEADRACE_WRITE_DOCS=1 write it."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    text = file.read_text(encoding="utf-8")
    if os.environ.get(WRITE) == "1":
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        file.write_text(f"{before}{begin}\n{expected}\n{end}{after}", encoding="utf-8")
        return
    actual = text.partition(begin)[2].partition(end)[0].strip()
    assert actual == expected.strip(), f"{file.name} is out of date; {WRITE}=1 updates it"
