"""The budget that a declaration gives, and the host that it counts for."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.fetcher.sources.declaration import UNLIMITED, Budget
from services.fetcher.sources.yaml_file import load_source
from shared.errors import ConfigError
from tests.services.fetcher.sources.test_declaration import MINIMAL, write_declaration
from tests.services.fetcher.synthetic_documents import made_source


@pytest.mark.parametrize(
    ("base_url", "budget"),
    [
        ("https://pond.example", Budget()),
        ("http://192.168.1.7:8000", Budget()),
        ("http://127.0.0.1:8790", UNLIMITED),
        ("http://localhost", UNLIMITED),
        ("http://[::1]:8790", UNLIMITED),
    ],
)
def test_only_a_server_on_this_machine_has_no_limits_by_default(base_url: str, budget: Budget) -> None:
    assert made_source(base_url).host_budget == budget


def test_a_declared_budget_holds_everywhere() -> None:
    assert made_source("http://127.0.0.1:8790", budget={"rate": 1}).host_budget == Budget(rate=1)


def test_the_shipped_source_has_a_polite_budget_that_a_copy_on_this_machine_does_not_have() -> None:
    source = load_source("boatrace")

    assert source.host_budget == Budget()
    assert source.with_base_url("http://127.0.0.1:8000").host_budget == UNLIMITED


@pytest.mark.parametrize(
    ("base_url", "host"),
    [("https://Pond.example/data", "pond.example"), ("http://me@127.0.0.1:8790", "127.0.0.1:8790")],
)
def test_the_host_has_its_port_and_no_user(base_url: str, host: str) -> None:
    assert made_source(base_url).host == host


@pytest.mark.parametrize("budget", ["{rate: 0}", "{burst: 0}", "{in_flight: 0}", "{rate: .inf}", "{per_second: 2}"])
def test_a_wrong_budget_is_refused_with_its_key(tmp_path: Path, budget: str) -> None:
    with pytest.raises(ConfigError, match="budget"):
        load_source(write_declaration(tmp_path, f"{MINIMAL}\nbudget: {budget}\n"))
