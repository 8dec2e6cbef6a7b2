"""Raises the process's limit of open files."""

from __future__ import annotations

import resource

# More than a service needs. A limit of millions would slow programs that close all descriptors of a child.
WANTED = 65_536


def raise_descriptor_limit(wanted: int = WANTED) -> int:
    """Raises the soft limit of open files to `wanted`, at most to the hard limit. Returns the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= target:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return target
