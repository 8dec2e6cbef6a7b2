from __future__ import annotations

import pytest

from website.links import BrokenLink, LinkTargets, rewrite_links

TARGETS = LinkTargets(
    frozenset({"README.md", "docs/a.md", "docs/b.md", "docs/adr/README.md", "docs/picture.png"}),
    {"code/main.py", "code"}.__contains__,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[b](b.md#part)", "[b](b.md#part)"),
        ("[front](../README.md) ![p](picture.png)", "[front](../README.md) ![p](picture.png)"),
        ("[decisions](adr) or [one](adr#list)", "[decisions](adr/README.md) or [one](adr/README.md#list)"),
        ("[the `main` program](../code/main.py)", "the `main` program"),
        ("[here](#part) [far](https://example.com/x.py)", "[here](#part) [far](https://example.com/x.py)"),
        ("`[x](y.py)` ``[x](`y.py)``", "`[x](y.py)` ``[x](`y.py)``"),
        ("```\n[x](y.py)\n```\n[code](../code)", "```\n[x](y.py)\n```\ncode"),
    ],
)
def test_links_work_on_the_site(text: str, expected: str) -> None:
    assert rewrite_links(text, "docs/a.md", TARGETS) == expected


def test_links_to_code_get_the_address_of_the_repository() -> None:
    targets = LinkTargets(TARGETS.site_files, TARGETS.in_repository, "https://git.example.com/x/")

    assert rewrite_links("[m](../code/main.py)", "docs/a.md", targets) == "[m](https://git.example.com/x/code/main.py)"


def test_a_link_to_nothing_is_an_error() -> None:
    with pytest.raises(BrokenLink, match=r"docs/a\.md: there is no docs/nothing\.md"):
        rewrite_links("[x](nothing.md)", "docs/a.md", TARGETS)
