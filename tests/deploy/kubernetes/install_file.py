"""Renders deploy/kubernetes/install.yaml from the chart."""

from __future__ import annotations

from tests.deploy.kubernetes.chart import CHART, ROOT, helm

INSTALL = ROOT / "deploy" / "kubernetes" / "install.yaml"
HEADER = """\
# Rendered from deploy/helm/headrace with deploy/kubernetes/values.yaml: change those, not this file (a test compares).
# docs/kubernetes.md says how to install it.
"""


def render_install() -> str:
    values = INSTALL.with_name("values.yaml")
    # The test of `helm test` is a hook, which only Helm runs.
    process = helm("template", "headrace", CHART, "--namespace", "headrace", "--values", values, "--skip-tests")
    assert process.returncode == 0, process.stderr
    return HEADER + process.stdout
