"""Fixtures: the loader's databases."""

from tests.services.loader.conftest import connection, empty_url

__all__ = ["connection", "empty_url"]
