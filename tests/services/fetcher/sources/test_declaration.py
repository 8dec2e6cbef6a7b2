"""Declarations of sources in YAML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.fetcher.capture import planning_keys_of
from services.fetcher.sources.yaml_file import load_source
from shared.errors import ConfigError
from tests.services.fetcher.synthetic_documents import made_source

MINIMAL = """
name: pond
base_url: https://pond.example
time_zone: Europe/Oslo
feeds: [{name: cards, dated: "/{date:%Y%m%d}.json", events: cards}]
identity: {date: day, venue: track, number: heat}
"""


def write_declaration(folder: Path, text: str, name: str = "pond.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize("name", ["boatrace", "simulator"])
def test_the_shipped_sources_load(name: str) -> None:
    source = load_source(name)

    assert source.name == name
    assert [feed.name for feed in source.feeds] == ["programs", "previews", "results"]
    assert [feed.close for feed in source.feeds] == ["changed", "changed", "reemit-first"]


def test_the_simulator_inherits_what_it_does_not_declare_from_the_boat_races() -> None:
    boatrace, simulator = load_source("boatrace"), load_source("simulator")

    assert simulator.reference == boatrace.reference
    assert simulator.identity == boatrace.identity
    assert simulator.live.close_after_s == boatrace.live.close_after_s
    assert simulator.live.poll_interval_s != boatrace.live.poll_interval_s


def test_the_reference_data_of_the_boat_races_is_complete() -> None:
    tables = load_source("boatrace").reference

    assert {name: len(rows) for name, rows in tables.items()} == {
        "venues": 24,
        "markets": 7,
        "grades": 5,
        "classes": 4,
        "weathers": 5,
        "wind_directions": 17,
        "techniques": 6,
        "place_codes": 10,
        "branches": 47,
    }
    refunded = {row.code for row in tables["place_codes"] if row.attributes.get("refunded")}
    assert refunded == {"14", "15", "16"}
    assert {row.code: row.attributes for row in tables["markets"]}["trio"] == {"picks": 3, "ordered": False}


def test_a_users_own_file_loads(tmp_path: Path) -> None:
    source = load_source(write_declaration(tmp_path, MINIMAL))

    assert source.name == "pond"


def test_a_file_may_extend_another_in_its_folder(tmp_path: Path) -> None:
    write_declaration(tmp_path, MINIMAL)

    source = load_source(
        write_declaration(tmp_path, "extends: pond.yaml\nname: lake\nlive: {poll_interval_s: 7}", "lake.yaml")
    )

    assert (source.name, source.base_url, source.live.poll_interval_s) == ("lake", "https://pond.example", 7)


def test_another_base_url_changes_nothing_else() -> None:
    source = load_source("simulator").with_base_url("http://127.0.0.1:1234/")

    assert source.base_url == "http://127.0.0.1:1234"
    assert source.name == "simulator"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("pace: 3", "pace"),
        ("time_zone: Mars/North", "time_zone"),
        ("base_url: ftp://pond.example", "base_url"),
        ("base_url: https://me:secret@pond.example", "base_url"),
        ("name: Pond/1", "name"),
        ('feeds: [{name: cards, dated: "/{day}.json", events: cards}]', "feeds.0.dated"),
        ('feeds: [{name: reference, dated: "/x", events: cards}]', "feeds"),
        ("live: {poll_interval_s: 0}", "live.poll_interval_s"),
        ("retry: {tries: none}", "retry.tries"),
        ("reference: {venues: {1: {size: 3}}}", "reference.venues"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path: Path, line: str, key: str) -> None:
    write_declaration(tmp_path, MINIMAL)
    path = write_declaration(tmp_path, f"extends: pond.yaml\n{line}", "wrong.yaml")

    with pytest.raises(ConfigError) as raised:
        load_source(path)

    assert path in str(raised.value)
    assert key in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write_declaration(tmp_path, MINIMAL.replace("base_url", "address"))

    with pytest.raises(ConfigError, match="base_url"):
        load_source(path)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "extends: 7"])
def test_a_file_without_a_declaration_is_named(tmp_path: Path, text: str) -> None:
    path = write_declaration(tmp_path, text)

    with pytest.raises(ConfigError, match=r"pond\.yaml"):
        load_source(path)


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write_declaration(tmp_path, "extends: b.yaml", "a.yaml")
    path = write_declaration(tmp_path, "extends: a.yaml", "b.yaml")

    with pytest.raises(ConfigError, match="circle"):
        load_source(path)


def test_the_error_for_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="boatrace, simulator"):
        load_source("boatrase")


@pytest.mark.parametrize("host", ["cdn.example.org", "cdn.example.org:8443", "10.0.0.1"])
def test_hosts_of_redirects_are_declared_with_or_without_a_port(host: str) -> None:
    assert made_source(redirects={"hosts": [host]}).redirects.hosts == (host,)


@pytest.mark.parametrize("host", ["https://cdn.example.org", "cdn.example.org/path", "user@cdn.example.org", ""])
def test_a_host_of_redirects_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"redirects\.hosts"):
        made_source(redirects={"hosts": [host]})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("completeness: {values: {odds: [place]}}", "completeness.values.odds"),
        ("cadence: {start: {feed: odds, key: at}}", "cadence.start.feed"),
        ("cadence: {start: {feed: cards, key: at}, settled: {feed: odds, key: at}}", "cadence.settled.feed"),
        ("cadence: {start: {feed: cards, key: at}, near_feeds: [odds]}", "cadence.near_feeds"),
    ],
)
def test_completeness_and_cadence_name_only_declared_feeds(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}.*expected one of the feeds cards, got 'odds'"):
        load_source(write_declaration(tmp_path, MINIMAL + text))


def test_the_boat_races_have_the_keys_that_planning_reads() -> None:
    source = load_source("boatrace")

    keys = {feed.name: planning_keys_of(source, feed) for feed in source.feeds}

    assert keys["programs"].start == "race_closed_at"
    assert keys["results"].settled == "race_technique_number"
    assert all(each.values for each in keys.values())
