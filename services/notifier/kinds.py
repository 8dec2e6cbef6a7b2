"""The kinds of findings: about events, and about the pipeline."""

from __future__ import annotations

from typing import Literal, get_args

EventKind = Literal["tip", "big-payout", "grade", "surprise", "called-off", "daily"]
PipelineKind = Literal[
    "stage-down", "partition-held", "lag-growing", "windows-failed", "window-changed", "dead-letters",
    "model-behind", "audit-missing", "quality", "bot-token",
]  # fmt: skip
FindingKind = Literal[EventKind, PipelineKind]
EVENT_KINDS: frozenset[str] = frozenset(get_args(EventKind))
PIPELINE_KINDS: frozenset[str] = frozenset(get_args(PipelineKind))
