"""docs/settings.md is generated from the settings models."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from services.cleaner.settings import CleanerSettings
from services.fetcher.settings import FetcherSettings
from services.loader.settings import LoaderSettings
from services.notifier.settings import NotifierSettings
from services.predictor.settings import PredictorSettings
from shared.settings.sections import ServiceSettings
from shared.settings.tables import describe, markdown_table
from tests.shared.generated import compare

MODELS = (FetcherSettings, CleanerSettings, LoaderSettings, PredictorSettings, NotifierSettings)


def test_the_docs_list_every_setting(repository: Path) -> None:
    common = describe(ServiceSettings)
    parts = [f"## Every service\n\n{markdown_table(common)}"]
    for model in MODELS:
        own = [row for row in describe(model) if row not in common]
        parts.append(f"## {model.name.capitalize()}\n\n{markdown_table(own)}")

    compare(repository / "docs" / "settings.md", "settings", "\n".join(parts))


@pytest.mark.parametrize("model", MODELS)
def test_a_service_has_a_section_of_its_own_name(model: type[ServiceSettings]) -> None:
    sections = {row.key.partition(".")[0] for row in describe(model)}

    assert model.name in sections


def test_a_setting_without_a_description_is_refused() -> None:
    class Undescribed(BaseModel):
        threads: int = 1

    with pytest.raises(ValueError, match="threads has no description"):
        describe(Undescribed)
