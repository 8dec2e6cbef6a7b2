"""Checks a frame against the model of its view."""

from __future__ import annotations

import pandas as pd
from pandera.errors import SchemaErrors

from headrace.frames.errors import InvalidFrame, suggestion
from headrace.frames.models import MODELS


def validate(frame: pd.DataFrame, view: str | None) -> pd.DataFrame:
    """Raises InvalidFrame with one line per difference."""
    query = frame.attrs.get("query")
    name = view or (query.get("view") if isinstance(query, dict) else None)
    if name is None:
        raise InvalidFrame('the frame does not name its view: validate("events") does')
    if name not in MODELS:
        raise InvalidFrame(f"there is no view {name!r}{suggestion(str(name), MODELS)}")
    schema = MODELS[name]
    absent = [column for column in schema.columns if column not in frame.columns]
    if view is None and absent:
        schema = schema.remove_columns(absent)
    try:
        checked: pd.DataFrame = schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case"]].drop_duplicates(["column", "check"])
        lines = [
            f"{case.column or case.failure_case}: {case.check} ({case.failure_case})" for case in cases.itertuples()
        ]
        raise InvalidFrame(f"the frame is not one of {name}:\n" + "\n".join(lines)) from None
    return checked
