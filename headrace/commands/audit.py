"""The command `headrace audit`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.audit.audit_pass import AuditResult, AuditTarget
from headrace.audit.audit_pass import run_audit as audit_of
from headrace.audit.report import FINDING_COUNTS, LISTS, page_of, report_lines, report_of
from headrace.audit.window import AuditWindow
from headrace.database.access import Access, open_broker, open_existing_database, service_settings
from headrace.terminal.arguments import BrokerOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.days import parse_day_or_time
from headrace.terminal.output import print_json, print_table, stdout
from services.fetcher.settings import FetcherSettings
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.yaml_file import SHIPPED_DIR, load_source
from shared.errors import ConfigError
from shared.events import as_utc_ms
from shared.ops.tables import audit_results
from shared.settings.sections import Settings

PAGE_SIZE = 50


@grouped_options
def audit(
    options: BrokerOptions,
    from_text: Annotated[
        str | None, typer.Option("--from", metavar="D|ISO", help="First day of the events, or a fetch time.")
    ] = None,
    to_text: Annotated[
        str | None, typer.Option("--to", metavar="D|ISO", help="Last day, inclusive; or a fetch time, exclusive.")
    ] = None,
    list_: Annotated[
        str | None, typer.Option("--list", metavar="CLASS", help=f"List the records of a class: {', '.join(LISTS)}.")
    ] = None,
    page: Annotated[int, typer.Option(min=1, help="Page of the list, from 1.")] = 1,
    page_size: Annotated[int, typer.Option(min=1, max=10_000, help="Records per page.")] = PAGE_SIZE,
    archive_check: Annotated[
        bool, typer.Option("--archive-check/--no-archive", help="Also compare with the archive of raw documents.")
    ] = True,
    record: Annotated[
        bool, typer.Option("--record", help="Store the counts in the database, from which the loader makes metrics.")
    ] = False,
    output: OutputOption = Output.TABLE,
    wide: WideOption = False,
) -> int:
    """Trace every fetched record to its current place, and report missing and duplicate records.

    Works while the pipeline runs, and changes no record. Exit code 0: no record is missing or duplicated, and all rows
    match their versions; 1: otherwise.
    """
    if list_ is not None and list_ not in LISTS:
        raise ConfigError(f"--list {list_}: expected one of {', '.join(LISTS)}")
    window = audit_window(from_text, to_text)
    settings = options.settings
    with open_existing_database(settings) as access:
        result = _run_audit(access, settings, options.config, archive_check, window)
        report = report_of(result, window)
        if record:
            _store_result(access, report)
    list_page = page_of(result, list_, page, page_size) if list_ else None
    if output is Output.JSON:
        print_json(report | ({"list": list_page} if list_page else {}))
    elif list_page is not None:
        _show_page(list_page, wide)
    else:
        stdout().print("\n".join(report_lines(report)), markup=False)
    return 0 if report["ok"] else 1


def audit_window(from_text: str | None, to_text: str | None) -> AuditWindow:
    """The window of two options, each a day or a time with its zone. Raises ConfigError that names the option."""
    option_texts = (("--from", from_text), ("--to", to_text))
    first, last = (None if text is None else parse_day_or_time(option, text) for option, text in option_texts)
    if isinstance(first, datetime) != isinstance(last, datetime) and first and last:
        raise ConfigError("--from and --to: expected two days, or two times")
    if isinstance(first, datetime) or isinstance(last, datetime):
        from_ms, to_ms = (as_utc_ms(each) if isinstance(each, datetime) else None for each in (first, last))
        if from_ms is not None and to_ms is not None and to_ms <= from_ms:
            raise ConfigError(f"--to {to_text} is not after --from {from_text}")
        return AuditWindow(from_ms=from_ms, to_ms=to_ms)
    if first and last and last < first:
        raise ConfigError(f"--to {last} is before --from {first}")
    return AuditWindow(first, last)


def _run_audit(
    access: Access, settings: Settings, config: Path | None, archive_check: bool, window: AuditWindow
) -> AuditResult:
    folder = settings.data_dir / "archive"
    with open_broker(access, settings, "headrace audit") as broker, access.connect("headrace audit") as connection:
        target = AuditTarget(
            connection,
            broker,
            folder if archive_check and (folder / "index.jsonl").exists() else None,
            _sources(access, settings, config),
        )
        return audit_of(target, window)


def _store_result(access: Access, report: Mapping[str, Any]) -> None:
    fates = {name.replace("_", " "): count for name, count in report["counts"].items()}
    findings = {kind: report[key] for kind, key in FINDING_COUNTS.items()}
    with access.connect("headrace audit") as connection:
        audit_results.store(connection, fates, findings, (report["window"]["from"], report["window"]["to"]))


def _sources(access: Access, settings: Settings, config: Path | None) -> dict[str, Source]:
    """By name: the sources that ship with Headrace, and the one in the fetcher's settings."""
    names = [file.stem for file in SHIPPED_DIR.glob("*.yaml")]
    fetcher = service_settings(FetcherSettings, access, settings.data_dir, config).fetcher.source
    if fetcher.endswith((".yaml", ".yml")):
        names.append(fetcher)
    return {source.name: source for source in map(load_source, names)}


def _show_page(list_page: dict[str, Any], wide: bool) -> None:
    items: list[dict[str, Any]] = list_page["items"]
    if items:
        print_table(list(items[0]), items, wide=wide)
    stdout().print(
        f"{list_page['total']:,} {list_page['class']}, page {list_page['page']} of {max(1, list_page['pages'])}"
    )
