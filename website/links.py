"""Relative links of a page: links to pages stay, links to other files lead to the repository or become text.

A page of the site has the path of its file in the repository, so a link that works on a Git host needs no change if its
target is a page too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

# Code comes first: what looks like a link in it is none.
_CODE_OR_LINK = re.compile(
    r"(?P<code>^(?P<fence>`{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<image>!?)\[(?P<label>(?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


class SiteError(Exception):
    """A mistake in the documents that keeps the site from being built."""


class BrokenLink(SiteError):
    """A relative link whose target does not exist in the repository."""


@dataclass(frozen=True)
class LinkTargets:
    """What a relative link may lead to. All paths are relative to the root of the repository."""

    site_files: frozenset[str]
    in_repository: Callable[[str], bool]
    # The address of a file at a Git host without the file's path, ending in a slash; "" if there is none.
    source_url: str = ""


def rewrite_links(text: str, page: str, targets: LinkTargets) -> str:
    """The text of a page with links that work on the site. Raises BrokenLink."""

    def replacement(match: re.Match[str]) -> str:
        if match["code"] or _is_address(match["target"]):
            return match[0]
        path, _, anchor = match["target"].partition("#")
        target = posixpath.normpath(str(PurePosixPath(page).parent / path))
        if target in targets.site_files:
            return match[0]
        if (index := posixpath.join(target, "README.md")) in targets.site_files:
            link = posixpath.join(path, "README.md") + (f"#{anchor}" if anchor else "")
            return f"{match['image']}[{match['label']}]({link})"
        if not targets.in_repository(target):
            raise BrokenLink(f"{page}: there is no {target} (nor {index})")
        return f"[{match['label']}]({targets.source_url}{target})" if targets.source_url else match["label"]

    return _CODE_OR_LINK.sub(replacement, text)


def _is_address(target: str) -> bool:
    """Whether a target is an anchor of the same page, or has a scheme."""
    return target.startswith("#") or re.match(r"[a-z]+:", target) is not None
