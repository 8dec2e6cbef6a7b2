"""Templates: what they may contain, how they print values, and that rendering is bounded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.kinds import EVENT_KINDS, PIPELINE_KINDS
from services.notifier.texts.default_templates import DEFAULT_TEMPLATES
from services.notifier.texts.message import MAX_LENGTH, RenderedText
from services.notifier.texts.templates import InvalidTemplate, compile_template, render, render_or_default
from services.notifier.texts.variables import samples_of

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
VALUES = {
    "name": "A*B", "text": RenderedText("**x**"), "number": 1_234, "share": 0.831, "at": AT, "title": None,
    "places": ({"place": 1, "name": "@here"}, {"place": 2, "name": "C"}), "numbers": (11, 12), "many": (1,) * 99,
}  # fmt: skip


def rendered(source: str, **values: object) -> str:
    return render(compile_template(source, [VALUES]), {**VALUES, **values})


def problems(source: str) -> list[tuple[int, str]]:
    with pytest.raises(InvalidTemplate) as raised:
        compile_template(source, [VALUES])
    return [(problem.line, problem.text) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ name }} **bold**", r"A\*B **bold**"),
        ("{{ text }}", "**x**"),
        ("{{ title }}", "unknown"),
        ("{{ number }} {{ number|number }}", "1234 1,234"),
        ("{{ share|percent }} {{ share|percent(0) }} {{ share|decimals(2) }} {{ share }}", "83.1% 83% 0.83 0.831"),
        ("{{ at }} / {{ at|time('Asia/Tokyo') }}", "2026-01-31 03:00 UTC / 2026-01-31 12:00 JST"),
        ("{{ numbers|join(', ') }} ({{ numbers|length }})", "11, 12 (2)"),
        ("{{ 1|plural('event') }}, {{ number|plural('event') }}", "1 event, 1,234 events"),
        ("{% for each in places %}{{ loop.index }}{{ each.place }} {% endfor %}", "11 22 "),
        ("{{ places[1].name }} {{ places[1]['name'] }}", "C C"),
        ("{% if number > 3 and title is none and not (share >= 0.9) %}yes{% else %}no{% endif %}", "yes"),
        ("{{ 'a' if number in [1234, 7] else 'b' }}", "a"),
        ("{{ title|percent }} {{ title|time }} {{ title|number }}", "unknown unknown unknown"),
        ("{{ number > 3 }}", "yes"),
    ],
)
def test_a_template_prints_values(source: str, text: str) -> None:
    assert rendered(source) == text


def test_a_line_of_tags_leaves_no_line() -> None:
    source = "a\n  {% if number > 3 %}\nb\n{% endif %}\n{% for each in numbers %}\n{{ each }}\n{% endfor %}\nc\n"

    assert rendered(source) == "a\nb\n11\n12\nc"


def test_a_line_with_tags_and_text_stays_a_line() -> None:
    assert rendered("a {% if number > 3 %}b{% endif %}\nc") == "a b\nc"


def test_names_in_a_list_are_escaped() -> None:
    assert rendered("{% for each in places %}{{ each.name }}{% endfor %}") == "@\u200bhereC"


def test_a_filter_does_not_make_a_name_safe() -> None:
    assert rendered("{% for each in places %}{{ each.name|join('') }}{% endfor %}") == "@\u200bhereC"
    assert rendered("{{ numbers|join('') }}", numbers=("*", "@")) == "\\*@\u200b"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ nam }}", "unknown variable nam; did you mean name?"),
        ("{{ places[0].nam }}", "unknown variable nam; did you mean name?"),
        ("{{ number.real }}", "unknown variable real; remove it, because this variable has no members"),
        ("{{ name.upper() }}", "a call is not allowed"),
        ("{{ range(9) }}", "a call is not allowed"),
        ("{{ name.__class__ }}", "unknown variable __class__"),
        ("{{ ''.__class__ }}", "expected a variable"),
        ("{{ places.append }}", "unknown variable append"),
        ("{{ name|attr('x') }}", "unknown filter attr"),
        ("{{ name|upper }}", "unknown filter upper"),
        ("{{ numbers|join(name) }}", "the filter join takes only texts and numbers"),
        ("{{ number is odd }}", "unknown test odd; use one of defined, none"),
        ("{{ number + 1 }}", "add is not allowed"),
        ("{{ number * 9 }}", "mul is not allowed"),
        ("{{ name ~ name }}", "~ is not allowed"),
        ("{{ 9 ** 9 }}", "pow is not allowed"),
        ("{{ -number }}", "neg is not allowed"),
        ("{{ name[0:2] }}", "expected a variable"),
        ("{{ {'a': 1} }}", "{} is not allowed"),
        ("{% set x = 1 %}", "set is not allowed"),
        ("{% set x %}{% endset %}", "not allowed"),
        ("{% macro a() %}{% endmacro %}", "a macro is not allowed"),
        ("{% include 'x' %}", "an include is not allowed"),
        ("{% import 'x' as x %}", "an import is not allowed"),
        ("{% extends 'x' %}", "extends is not allowed"),
        ("{% block x %}{% endblock %}", "a block is not allowed"),
        ("{% filter upper %}{% endfilter %}", "not allowed"),
        ("{% with a = 1 %}{% endwith %}", "with is not allowed"),
        ("{% for a in name %}{% endfor %}", "a loop must run over a list"),
        ("{% for a in [1, 2] %}{% endfor %}", "expected a variable"),
        ("{% for a, b in places %}{% endfor %}", "a loop has one variable"),
        ("{% for a in numbers if a %}{% endfor %}", "a loop must not be recursive or have a condition"),
        ("{% for a in numbers recursive %}{% endfor %}", "a loop must not be recursive or have a condition"),
        ("{% for a in numbers %}" * 3 + "{% endfor %}" * 3, "at most 2 loops may be inside each other; remove one"),
        ("{{ places }}", "it fails for a possible value: tuple cannot be printed"),
        ("{{ at|time('Asia') }}", "it fails for a possible value"),
        ("{{ at|time('Asia/Tokio') }}", "it fails for a possible value"),
        ("{{ title > 3 }}", "it fails for a possible value"),
        ("{{ share|decimals(99) }}", "expected 0 to 10 digits, got 99"),
        ("{% if number > 9999 %}x{% endif %}", "it gives an empty text for possible values"),
        ("{{ name", "unexpected end of template"),
        ("{% if %}", "see the chapter Templates"),
        ("{{ " + "(" * 3_000, "it is nested too deeply"),
        ("{{ " + "not " * 900 + "number }}", "it is nested too deeply"),
        ("{{ (" * 10, "see the chapter Templates"),
    ],
)
def test_a_template_with_anything_else_is_refused(source: str, problem: str) -> None:
    texts = [text for _, text in problems(source)]

    assert any(problem in text for text in texts), texts


def test_problems_have_their_lines() -> None:
    source = "{% if number > 3 %}\n{{ nam }}\n{% endif %}\n{{ title.x }}\n{{ f() }}"

    assert [line for line, _ in problems(source)] == [2, 4, 5]


def test_a_failure_for_a_sample_has_its_line() -> None:
    assert [line for line, _ in problems("a\n{% if number %}\n{{ title > 3 }}\n{% endif %}")] == [3]


def test_the_text_is_bounded() -> None:
    loops = "{% for a in many %}{% for b in many %}" + "x" * 900 + "{% endfor %}{% endfor %}"

    assert len(rendered(loops)) <= MAX_LENGTH


def test_control_characters_do_not_reach_the_text() -> None:
    assert rendered(r"{{ numbers|join('\x00\x1b\ud800') }}") == "11   12"


def test_a_template_that_fails_later_falls_back_to_the_default() -> None:
    template, default = (compile_template(source, [VALUES]) for source in ("{{ number > 3 }}", "default {{ name }}"))

    rendering = render_or_default(template, default, {**VALUES, "number": None})

    assert rendering.text == r"default A\*B"
    assert rendering.error is not None
    assert "test the value first" in rendering.error


def test_a_template_that_gives_nothing_falls_back_to_the_default() -> None:
    template, default = (compile_template(source, [VALUES]) for source in ("{% if number %}x{% endif %}", "default"))

    assert render_or_default(template, default, {**VALUES, "number": 0}).text == "default"


def test_a_text_begins_with_a_line_that_is_not_empty() -> None:
    assert rendered(" {% if number > 9999 %}x{% endif %} \n\n{{ name }}") == r"A\*B"


@pytest.mark.parametrize("state", ["open", "acknowledged", "resolved"])
def test_a_template_of_an_alert_is_checked_in_every_state(state: str) -> None:
    with pytest.raises(InvalidTemplate, match="empty text for possible values"):
        compile_template(f"{{% if state != '{state}' %}}x{{% endif %}}", samples_of("stage-down"))


def test_every_kind_has_a_default_template() -> None:
    assert DEFAULT_TEMPLATES.keys() == EVENT_KINDS | PIPELINE_KINDS
    for kind, source in DEFAULT_TEMPLATES.items():
        compile_template(source, samples_of(kind))


@given(st.text(alphabet="{}%|().'\"[]~+-*/ \nabefinorstu0", max_size=60))
def test_any_text_is_a_template_or_refused(source: str) -> None:
    try:
        template = compile_template(source, [VALUES])
    except InvalidTemplate as error:
        assert error.problems  # noqa: PT017
    else:
        assert render(template, VALUES).strip()
