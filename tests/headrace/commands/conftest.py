"""A real embedded server with synthetic rows in its own data directory, for read-only commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.cli import command
from headrace.database.access import Access, open_database, prepare
from shared.settings.sections import Settings

Headrace = Callable[..., tuple[int, str, str]]
FILL = """
INSERT INTO facts.sources (name) VALUES ('made-up');
INSERT INTO facts.venues (source_id, code, name) SELECT id, '7', 'Seven' FROM facts.sources;
INSERT INTO facts.sessions (session_key, source_id, venue_id, date)
    SELECT 'made-up:2026-01-31:07', s.id, v.id, '2026-01-31' FROM facts.sources s, facts.venues v;
INSERT INTO facts.events (event_key, session_id, number, scheduled_at, status)
    SELECT 'made-up:2026-01-31:07:01', id, 1, '2026-01-31 03:00+00', 'settled' FROM facts.sessions;
INSERT INTO facts.transactions SELECT id, 'win', '1', 250, 1 FROM facts.events;
INSERT INTO facts.transactions SELECT id, 'trifecta', '1-2-3', 1230, 1 FROM facts.events;
INSERT INTO facts.dead_letters VALUES ('cleaner', gen_random_uuid(), 'cleaner.dlq', 2, 17, 'k', 'InvalidEvent',
    'expected a slot, got 9', 1, now());
"""


@pytest.fixture(scope="session")
def filled_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands") / "data"


@pytest.fixture(scope="session")
def access(filled_dir: Path) -> Iterator[Access]:
    settings = Settings(data_dir=filled_dir)
    with open_database(settings) as access:
        assert prepare(access, settings).applied > 0
        with access.connect() as connection:
            connection.execute(FILL.encode())
        yield access


@pytest.fixture
def headrace(access: Access, filled_dir: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command([*arguments, "--data-dir", str(filled_dir)])
        return code, *capfd.readouterr()

    return run
