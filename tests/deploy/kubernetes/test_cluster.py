"""The chart on a real API server: install, upgrade, failures, scaling, drain, rights. `make kubernetes-test` runs it.

No container runs: kwok reports pods as ready and Jobs as complete. Images, probes, files, traffic and operators are not
tested here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from shared.topics import SERVICES
from tests.deploy.kubernetes.chart import CHART, VALUES, text_of, values_option
from tests.deploy.kubernetes.control_plane.build import DIRECTORY
from tests.deploy.kubernetes.control_plane.server import NODES, ControlPlane
from tests.deploy.kubernetes.control_plane.stages import EXIT_CODE, STUCK
from tests.deploy.kubernetes.tools import custom_schemas
from tests.waiting import wait_until

pytestmark = pytest.mark.kubernetes
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
# A database outside the release and the embedded broker, with the migration as a hook.
EXTERNAL = [
    "database.mode=external", "database.host=postgresql.example.com", "database.existingSecret=passwords",
    "migration.hook=true",
]  # fmt: skip


def annotation(prefix: str, name: str, value: str) -> list[str]:
    """An option of helm that sets a pod annotation."""
    escaped = name.replace(".", r"\.")
    return ["--set-string", f"{prefix}.podAnnotations.{escaped}={value}"]


class Release:
    """A release `headrace` in a namespace of its own, which enforces the profile `restricted`."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}})

    def helm(self, action: str, *options: str, timeout: str = "240s") -> tuple[int, str]:
        """Exit code and output of `helm ACTION headrace CHART`, which waits for the result."""
        chart = [] if action == "rollback" else [CHART]
        process = self.plane.helm(
            action, "headrace", *chart, "--namespace", self.namespace, "--wait", "--timeout", timeout, *options
        )
        return process.returncode, process.stdout + process.stderr

    def install(self, *options: str) -> None:
        code, output = self.helm("install", *options)
        assert code == 0, output

    def deployment(self, service: str) -> dict[str, Any]:
        return self.plane.get("deployment", f"headrace-{service}", "--namespace", self.namespace)

    def images(self) -> set[str]:
        return {
            container["image"].rpartition(":")[2]
            for service in SERVICES
            for container in self.deployment(service)["spec"]["template"]["spec"]["containers"]
        }

    def pods(self, component: str) -> list[dict[str, Any]]:
        selector = f"app.kubernetes.io/component={component}"
        pods: list[dict[str, Any]] = self.plane.get("pods", "--namespace", self.namespace, "--selector", selector)[
            "items"
        ]
        return pods

    def secrets(self) -> dict[str, Any]:
        """The content of the generated Secrets."""
        return {
            name: self.plane.get("secret", name, "--namespace", self.namespace)["data"]
            for name in ("headrace-database", "headrace-admin")
        }

    def wait_for_replicas(self, service: str, count: int) -> None:
        wait_until(
            lambda: self.deployment(service)["status"].get("readyReplicas") == count, f"{count} replicas of {service}"
        )

    def remove(self) -> None:
        self.plane.helm("uninstall", "headrace", "--namespace", self.namespace)
        self.plane.run("delete", "namespace", self.namespace, "--wait=false")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    if os.environ.get("HEADRACE_KUBERNETES") != "1":
        pytest.skip("starts a Kubernetes control plane: `make kubernetes-test` runs these tests")
    plane = ControlPlane(DIRECTORY, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start(custom_schemas())
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def release(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Release]:
    release = Release(plane, f"t-{abs(hash(request.node.name)) % 10**8}")
    yield release
    release.remove()


@pytest.mark.parametrize("values", VALUES)
def test_the_api_server_accepts_every_resource(plane: ControlPlane, values: str) -> None:
    """With types, required fields and CEL rules of the custom resources; unknown fields are errors."""
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "headrace", "labels": RESTRICTED}})
    # Without the pod of `helm test`, which needs a ServiceAccount that a dry run does not create.
    options = ("--skip-tests", "--set", "database.cloudnativepg.scheduledBackup.enabled=true")

    process = plane.run(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        "-",
        text=text_of(values, *options),
    )

    assert process.returncode == 0, process.stderr
    assert "Warning" not in process.stderr


def test_an_installation_gets_ready_in_a_restricted_namespace(release: Release) -> None:
    release.install(*values_option("dev"))

    for service in SERVICES:
        assert release.deployment(service)["status"]["readyReplicas"] == 1
    jobs = release.plane.get("jobs", "--namespace", release.namespace)["items"]
    assert [job["status"].get("succeeded") for job in jobs] == [1]
    events = release.plane.get("events", "--namespace", release.namespace)["items"]
    assert not [event["message"] for event in events if "PodSecurity" in event.get("message", "")]


def test_the_namespace_refuses_a_pod_that_is_not_restricted(release: Release) -> None:
    process = release.plane.run("run", "root", "--image=example", "--privileged", "--namespace", release.namespace)

    assert process.returncode != 0
    assert "violates PodSecurity" in process.stderr


def test_an_upgrade_migrates_and_replaces_the_pods_and_a_rollback_returns(release: Release) -> None:
    release.install()

    code, output = release.helm("upgrade", "--set", "image.tag=2.0")
    assert code == 0, output
    upgraded = release.images()
    jobs = release.plane.get("jobs", "--namespace", release.namespace)["items"]
    code, output = release.helm("rollback")

    assert code == 0, output
    assert upgraded == {"2.0"}
    assert [job["metadata"]["name"].startswith("headrace-migration-2-") for job in jobs] == [True]
    assert release.images() == {"0.1.0"}


def test_the_generated_passwords_stay_the_same_in_an_upgrade(release: Release) -> None:
    release.install()
    before = release.secrets()

    code, output = release.helm("upgrade", "--set", "image.tag=2.0")

    assert code == 0, output
    assert release.secrets() == before


def test_a_secret_with_one_token_for_all_services_is_refused_before_anything_changes(release: Release) -> None:
    metadata = {"name": "tokens", "namespace": release.namespace}
    release.plane.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"admin.token": "x" * 32}}
    )

    code, output = release.helm("install", "--set", "admin.existingSecret=tokens")

    assert code != 0
    assert "the Secret tokens has no key fetcher.token" in output
    assert release.pods("fetcher") == []


def test_a_failing_migration_ends_an_upgrade_before_any_pod_changes(release: Release) -> None:
    options = [word for each in EXTERNAL for word in ("--set", each)]
    release.install(*options)

    failing = ["--set", "image.tag=2.0", "--set", "migration.backoffLimit=0", *annotation("migration", EXIT_CODE, "1")]
    code, output = release.helm("upgrade", *options, *failing)

    assert code != 0
    assert "migration" in output
    assert release.images() == {"0.1.0"}
    assert all(release.deployment(service)["status"]["readyReplicas"] == 1 for service in SERVICES)


def test_a_hanging_rollout_is_rolled_back(release: Release) -> None:
    release.install()

    hanging = ["--set", "image.tag=2.0", *annotation("services.loader", STUCK, "true")]
    code, output = release.helm("upgrade", *hanging, "--rollback-on-failure", timeout="40s")

    assert code != 0, output
    assert release.images() == {"0.1.0"}
    release.wait_for_replicas("loader", 1)


def test_an_upgrade_keeps_a_number_of_replicas_that_was_set_by_hand(release: Release) -> None:
    release.install()
    release.plane.kubectl("scale", "deployment", "headrace-loader", "--replicas=3", "--namespace", release.namespace)
    release.wait_for_replicas("loader", 3)

    code, output = release.helm("upgrade", "--set", "image.tag=2.0")
    assert code == 0, output
    after_upgrade = release.deployment("loader")["spec"]["replicas"]
    code, output = release.helm("rollback")

    assert code == 0, output
    assert after_upgrade == release.deployment("loader")["spec"]["replicas"] == 3


def test_an_upgrade_keeps_the_number_of_replicas_of_an_autoscaler(release: Release) -> None:
    """KEDA sets it by a HorizontalPodAutoscaler, which this test creates in its place."""
    options = ["--set", "services.loader.autoscaling.enabled=true"]
    release.install(*options)
    release.plane.kubectl(
        "autoscale", "deployment", "headrace-loader", "--min=2", "--max=3", "--namespace", release.namespace
    )
    release.wait_for_replicas("loader", 2)

    code, output = release.helm("upgrade", *options, "--set", "image.tag=2.0")

    assert code == 0, output
    assert release.deployment("loader")["spec"]["replicas"] == 2
    assert release.images() == {"2.0"}


def test_replicas_are_spread_over_the_zones(release: Release) -> None:
    release.install("--set", "services.cleaner.replicas=4")

    nodes = [pod["spec"]["nodeName"] for pod in release.pods("cleaner")]

    assert sorted(nodes) == sorted(2 * NODES)


def test_a_drain_evicts_one_replica_at_a_time(release: Release) -> None:
    release.install("--set", "services.cleaner.replicas=4")
    first, second, *_ = [pod["metadata"]["name"] for pod in release.pods("cleaner")]
    # Replacements that do not get ready use up the budget.
    for node in NODES:
        release.plane.kubectl("cordon", node)
    try:
        evict(release, first)
        wait_until(lambda: release.deployment("cleaner")["status"]["readyReplicas"] == 3, "the eviction")
        wait_until(lambda: disruptions_allowed(release) == 0, "the budget")
        refused = evict(release, second, check=False)
    finally:
        for node in NODES:
            release.plane.kubectl("uncordon", node)
    release.wait_for_replicas("cleaner", 4)
    drain = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"]
    release.plane.kubectl("drain", NODES[0], *drain)
    try:
        release.wait_for_replicas("cleaner", 4)
        nodes = {pod["spec"]["nodeName"] for pod in release.pods("cleaner")}
    finally:
        release.plane.kubectl("uncordon", NODES[0])

    assert "disruption budget" in refused
    assert nodes == {NODES[1]}


@pytest.mark.parametrize("component", [*SERVICES, "cli"])
def test_a_service_account_has_no_rights(release: Release, component: str) -> None:
    release.install("--set", "audit.enabled=false")
    account = f"system:serviceaccount:{release.namespace}:headrace-{component}"

    answers = {
        f"{verb} {resource}": release.plane.run(
            "auth", "can-i", verb, resource, "--as", account, "--namespace", release.namespace
        ).stdout.split()[0]
        for verb in ("get", "list", "create", "delete", "patch")
        for resource in ("secrets", "configmaps", "pods", "deployments.apps", "jobs.batch")
    }

    assert set(answers.values()) == {"no"}


def test_an_uninstallation_keeps_the_data(release: Release) -> None:
    release.install()

    assert release.plane.helm("uninstall", "headrace", "--namespace", release.namespace).returncode == 0

    left = release.plane.get("pvc,secret", "--namespace", release.namespace)["items"]
    names = {each["metadata"]["name"] for each in left}
    assert {"headrace-archive", "headrace-exports", "headrace-models", "headrace-database", "headrace-admin"} <= names


def evict(release: Release, pod: str, *, check: bool = True) -> str:
    """The error of the Eviction of a pod, empty if it is granted."""
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": release.namespace}}
    process = release.plane.run("create", "--raw", path, "--filename", "-", text=json.dumps(body))
    assert process.returncode == 0 or not check, process.stderr
    return process.stderr


def disruptions_allowed(release: Release) -> int:
    budget = release.plane.get("pdb", "headrace-cleaner", "--namespace", release.namespace)
    allowed: int = budget["status"]["disruptionsAllowed"]
    return allowed
