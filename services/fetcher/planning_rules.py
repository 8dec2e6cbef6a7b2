"""Turns a declaration into the rules of planning, which does not know declarations."""

from __future__ import annotations

from services.fetcher.planning.cadence import CadenceRules
from services.fetcher.planning.revisits import RevisitRules
from services.fetcher.planning.wrong_documents import ClosingRules
from services.fetcher.sources.declaration import Source


def revisit_rules_of(source: Source) -> RevisitRules:
    rules = source.completeness
    return RevisitRules(source.live.poll_interval_s, rules.retry_s, rules.max_retry_s, rules.recheck_after_h)


def closing_rules_of(source: Source) -> ClosingRules:
    rules = source.completeness
    return ClosingRules(rules.equal_answers, rules.retry_s, rules.max_retry_s)


def cadence_rules_of(source: Source, feed: str) -> CadenceRules | None:
    declared = source.cadence
    if declared is None:
        return None
    is_near = not declared.near_feeds or feed in declared.near_feeds
    return CadenceRules(
        declared.near_s,
        declared.settle_s,
        declared.near_interval_s if is_near else declared.interval_s,
        declared.interval_s,
        declared.night_interval_s,
        declared.min_publication_gap_s,
    )
