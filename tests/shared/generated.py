"""Tables in the docs that are made from the code: between two marks, compared by tests, written on demand."""

from __future__ import annotations

import os
from pathlib import Path

WRITE = "HEADRACE_WRITE_DOCS"


def compare(file: Path, name: str, expected: str) -> None:
    """Fail where the text between the file's marks is not as expected; with HEADRACE_WRITE_DOCS=1 write it instead."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    text = file.read_text(encoding="utf-8")
    if os.environ.get(WRITE) == "1":
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        file.write_text(f"{before}{begin}\n{expected}\n{end}{after}", encoding="utf-8")
        return
    found = text.partition(begin)[2].partition(end)[0].strip()
    assert found == expected.strip(), f"{file.name} is behind the code; {WRITE}=1 brings it up to date"
