"""Builds the admin apps of all five services as their processes do."""

from __future__ import annotations

import hmac
import json
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from services.cleaner.settings import CleanerSettings
from services.fetcher.settings import FetcherSettings
from services.loader.settings import LoaderSettings
from services.notifier.settings import NotifierSettings
from services.predictor.settings import PredictorSettings
from shared.broker.postgres.broker import PostgresBroker
from shared.runtime.api.app import admin_app
from shared.runtime.api.server import AdminServer
from shared.runtime.metrics import Metrics
from shared.runtime.service import ServiceFactory, admin_context_of
from shared.settings.sections import DatabaseSettings, ServiceSettings
from shared.topics import topic_specs
from tests.shared.runtime.views import GivenView

SETTINGS: dict[str, type[ServiceSettings]] = {
    model.name: model
    for model in (FetcherSettings, CleanerSettings, LoaderSettings, PredictorSettings, NotifierSettings)
}


@contextmanager
def app_of(name: str, database: DatabaseSettings, data_dir: Path, file_token: str | None) -> Iterator[FastAPI]:
    """The app of a service that is wired but not started."""
    settings = SETTINGS[name](database=database, data_dir=data_dir)
    metrics = Metrics()
    service = _wire(name)(settings, metrics)
    context = admin_context_of(settings, service, GivenView(service=name))
    try:
        yield admin_app(
            context, metrics.registry, None if file_token is None else partial(hmac.compare_digest, file_token)
        )
    finally:
        context.close()
        service.close()


@contextmanager
def server_of(
    name: str, owner_url: str, database: DatabaseSettings, data_dir: Path, file_token: str
) -> Iterator[AdminServer]:
    """Serves the app of a service, on a database with all topics. `database`: with the login of the service."""
    with closing(PostgresBroker(owner_url)) as broker:
        broker.ensure_topics(topic_specs())
    with app_of(name, database, data_dir, file_token) as app, AdminServer(app) as server:
        yield server


def _wire(name: str) -> ServiceFactory:
    with warnings.catch_warnings():
        # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        wire: ServiceFactory = import_module(f"services.{name}.__main__").wire
    return wire


def document_text(app: FastAPI) -> str:
    """The text of the file in docs/openapi."""
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The method, the path and the description of every endpoint of an OpenAPI document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation
