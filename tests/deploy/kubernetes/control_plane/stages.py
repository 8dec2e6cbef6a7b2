"""The life of pods for kwok: its own stages, with pods that never get ready and Jobs that fail by annotation."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Stage = dict[str, Any]
STUCK = "headrace.test/stuck"
EXIT_CODE = "headrace.test/exit-code"
_FILES = (
    "node/fast/node-initialize.yaml", "pod/fast/pod-delete.yaml", "volume/fast/pv-bind.yaml",
    "volume/fast/pv-delete.yaml", "volume/fast/pvc-provision.yaml", "volume/fast/pvc-delete.yaml",
)  # fmt: skip
# So that a test can see a Job before its end.
_DELAY = {"durationMilliseconds": 500}


def stages_of(directory: Path) -> list[Stage]:
    """The stages, from those in kwok's module."""
    ready = yaml.safe_load((directory / "pod/fast/pod-ready.yaml").read_text())
    complete = yaml.safe_load((directory / "pod/fast/pod-complete.yaml").read_text())
    others = [stage for file in _FILES for stage in yaml.safe_load_all((directory / file).read_text())]
    return [
        *others,
        _with_annotation(ready, STUCK, "NotIn", "true"),
        _delayed(_with_annotation(complete, EXIT_CODE, "NotIn", "1")),
        _failing(_delayed(_with_annotation(complete, EXIT_CODE, "In", "1"))),
    ]


def _with_annotation(stage: Stage, annotation: str, operator: str, value: str) -> Stage:
    changed = deepcopy(stage)
    expression = {"key": f'.metadata.annotations["{annotation}"]', "operator": operator, "values": [value]}
    changed["spec"]["selector"]["matchExpressions"].append(expression)
    return changed


def _delayed(stage: Stage) -> Stage:
    return stage | {"spec": stage["spec"] | {"delay": _DELAY}}


def _failing(complete: Stage) -> Stage:
    template: str = complete["spec"]["next"]["statusTemplate"]
    for before, after in (("exitCode: 0", "exitCode: 1"), ("Completed", "Error"), ("Succeeded", "Failed")):
        assert before in template
        template = template.replace(before, after)
    spec = complete["spec"] | {"next": {"statusTemplate": template}}
    return complete | {"metadata": {"name": "pod-fail"}, "spec": spec}
