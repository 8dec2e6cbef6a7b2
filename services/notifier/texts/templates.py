"""Compiles and renders the templates of notifications, in a sandbox of jinja2.

template_syntax.py limits what a template may contain, so rendering ends soon. Every value is escaped when it is
printed, unless it is a RenderedText. A line that consists of tags only leaves no line in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.notifier.texts.message import RenderedText, escape, truncate
from services.notifier.texts.template_syntax import SyntaxProblem, problems_of

# Rendering stops here; `truncate` then cuts the text to what a channel accepts.
MAX_RENDERED_LENGTH = 10_000
EMPTY_TEXT = "it gives an empty text for possible values; print a variable or word outside of all conditions"
UNKNOWN = "unknown"
# A line of tags, and the line break after it. jinja2 ignores a line break in a comment, but counts it.
_TAG = r"\{%(?:(?!%\}).)*%\}"
LINE_OF_TAGS = re.compile(rf"^[ \t]*({_TAG}(?:[ \t]*{_TAG})*)[ \t]*\n", re.MULTILINE)
# A template may contain them as escapes. PostgreSQL and channels refuse some of them.
CONTROL_CHARACTERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
RENDER_ERRORS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, OSError)
"""Errors of a template for some values. OSError: a time zone's file is a directory."""


class InvalidTemplate(ValueError):
    """A template that cannot be used; `problems` are sorted by line."""

    def __init__(self, problems: Sequence[SyntaxProblem]) -> None:
        super().__init__("; ".join(f"line {line}: {text}" for line, text in problems))
        self.problems = problems


class Rendering(NamedTuple):
    """A rendered text, and the error because of which the default template was used, if any."""

    text: str
    error: str | None = None


def compile_template(source: str, samples: Sequence[Mapping[str, object]]) -> Template:
    """A template that has rendered every sample. The first sample has a value for each variable.

    Raises InvalidTemplate with all problems.
    """
    environment = _environment()
    lines_of_tags = LINE_OF_TAGS.sub("\\1{#\n#}", source)
    try:
        problems = problems_of(environment.parse(lines_of_tags), samples[0], sorted(FILTERS))
    except TemplateSyntaxError as error:
        raise InvalidTemplate([SyntaxProblem(error.lineno, f"{error.message}; see the chapter Templates")]) from None
    except RecursionError:
        raise InvalidTemplate([SyntaxProblem(1, "it is nested too deeply; write it with fewer parentheses")]) from None
    if problems:
        raise InvalidTemplate(sorted(problems))
    template = environment.from_string(lines_of_tags)
    for sample in samples:
        try:
            text = render(template, sample)
        except RENDER_ERRORS as error:
            raise InvalidTemplate([SyntaxProblem(_line_of(error), _render_problem(error))]) from None
        if not text.strip():
            raise InvalidTemplate([SyntaxProblem(1, EMPTY_TEXT)])
    return template


def render(template: Template, variables: Mapping[str, object]) -> str:
    """The text in Discord's markdown, at most MAX_LENGTH long. Raises one of RENDER_ERRORS.

    It begins with a line that is not empty, because channels use the first line as a title.
    """
    parts: list[str] = []
    length = 0
    for part in template.generate(variables):
        parts.append(part)
        length += len(part)
        if length > MAX_RENDERED_LENGTH:
            break
    return truncate(CONTROL_CHARACTERS.sub(" ", "".join(parts)[:MAX_RENDERED_LENGTH]).rstrip("\n").lstrip())


def render_or_default(template: Template | None, default: Template, variables: Mapping[str, object]) -> Rendering:
    """Like `render`; uses `default` if there is no template, or if it fails or gives nothing for these values."""
    if template is None:
        return Rendering(render(default, variables))
    try:
        text = render(template, variables)
    except RENDER_ERRORS as error:
        return Rendering(render(default, variables), _render_problem(error))
    if not text.strip():
        return Rendering(render(default, variables), "the template gives an empty text")
    return Rendering(text)


def time_text(value: datetime | None, zone: str = "UTC") -> str:
    """A time for people, to the minute in the time zone `zone`."""
    if value is None:
        return UNKNOWN
    local = value.astimezone(ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"


def _render_problem(error: Exception) -> str:
    return f"it fails for a possible value: {error}; test the value first, for example `is not none`"


def _line_of(error: Exception) -> int:
    """The template's line at which rendering failed. jinja2 rewrites the traceback to show it."""
    line, frame = 1, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_printed, cache_size=0)
    environment.globals = {}
    environment.filters = dict(FILTERS)
    return environment


def _printed(value: object) -> str:
    """The text of a printed value: escaped, on one line."""
    if isinstance(value, RenderedText):
        return value
    for kind, text_of in PRINTED:
        if isinstance(value, kind):
            return escape(text_of(value))
    raise TypeError(f"{type(value).__name__} cannot be printed: print its members, or the items of a list in a loop")


def _percent(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{100 * value:.{_digits(digits)}f}%"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _decimals(value: float | None, digits: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:.{_digits(digits)}f}"


def _plural(value: int | None, noun: str) -> str:
    if value is None:
        return f"{UNKNOWN} {noun}s"
    return f"1 {noun}" if value == 1 else f"{value:,} {noun}s"


def _join(values: Iterable[object], separator: str = ", ") -> RenderedText:
    """The separator is part of the template, so it is not escaped."""
    return RenderedText(separator.join(_printed(value) for value in values))


def _digits(digits: int) -> int:
    if not 0 <= digits <= 10:
        raise ValueError(f"expected 0 to 10 digits, got {digits}")
    return digits


# In this order: a bool is an int, and a datetime is a date.
PRINTED: Sequence[tuple[type, Callable[[Any], str]]] = (
    (type(None), lambda _: UNKNOWN),
    (str, str),
    (bool, lambda value: "yes" if value else "no"),
    (int, str),
    (float, "{:.15g}".format),
    (datetime, time_text),
    (date, date.isoformat),
)
FILTERS: Mapping[str, Callable[..., object]] = {
    "percent": _percent,
    "number": _number,
    "decimals": _decimals,
    "plural": _plural,
    "time": time_text,
    "join": _join,
    "length": len,
}
