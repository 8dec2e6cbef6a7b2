"""Explains calls with wrong arguments: Python's own error names neither the view nor the likely meant argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from headrace.frames.errors import UnknownArgument, suggestion

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """The function; a call that its signature does not accept raises UnknownArgument."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UnknownArgument(_explanation(function.__name__, signature, list(kwargs), error)) from None
        return function(*args, **kwargs)

    return call


def with_explained_arguments(kind: type[T]) -> type[T]:
    """The class, with all public methods `explained`."""
    for name, member in list(vars(kind).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(kind, name, explained(member))
    return kind


def _explanation(name: str, signature: inspect.Signature, given: list[str], error: TypeError) -> str:
    accepted = [each for each in signature.parameters if each != "self"]
    unknown = [each for each in given if each not in accepted]
    if unknown:
        return f"{name} has no argument {unknown[0]!r}{suggestion(unknown[0], accepted)}"
    return f"{name}: {error}; its arguments are {signature.replace(parameters=_without_self(signature))}"


def _without_self(signature: inspect.Signature) -> list[inspect.Parameter]:
    """Without types, which are long."""
    empty = inspect.Parameter.empty
    return [each.replace(annotation=empty) for name, each in signature.parameters.items() if name != "self"]
