"""Builds the router of the fetcher's REST endpoints: windows, backfills and replays from the archive."""

from __future__ import annotations

from collections.abc import Callable, Collection

from fastapi import APIRouter

from services.fetcher.api.backfills import BackfillEndpoints
from services.fetcher.api.ledger_reader import LedgerReader
from services.fetcher.api.replays import add_replays
from services.fetcher.api.windows import WindowEndpoints
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.sources.declaration import Source
from shared.clock import Clock
from shared.runtime.api.context import AdminContext


class FetcherApi:
    """`fetched_keys`: the cursor keys of the windows whose document is fetched but not committed."""

    def __init__(
        self,
        source: Source,
        plan: FetchPlan,
        clock: Clock,
        archive: DocumentArchive,
        fetched_keys: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._source = source
        self._archive = archive
        ledger = LedgerReader(source, plan, clock, fetched_keys)
        self._windows = WindowEndpoints(source, ledger)
        self._backfills = BackfillEndpoints(source, plan, clock, ledger)

    def router(self, context: AdminContext) -> APIRouter:
        router = APIRouter(tags=["fetcher"])
        self._windows.add_to(context, router)
        self._backfills.add_to(context, router)
        add_replays(context, router, self._source, self._archive)
        return router
