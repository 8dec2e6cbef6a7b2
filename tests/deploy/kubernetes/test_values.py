"""What the values promise: documented, checked, and refused where they cannot work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.chart import (
    CHART,
    VALUES,
    documents_of,
    helm,
    of_kind,
    pods_of,
    values_option,
    variables_of,
)
from tests.deploy.kubernetes.readme import table_of, undescribed_keys
from tests.shared.generated import compare

DEFAULTS = (CHART / "values.yaml").read_text()
SCHEMA: dict[str, Any] = yaml.safe_load((CHART / "values.schema.json").read_text())


def refusal(values: str, *options: str) -> str:
    process = helm(
        "template", "headrace", CHART, *values_option(values), *(word for each in options for word in ("--set", each))
    )
    assert process.returncode != 0
    return process.stderr


def test_the_readme_describes_every_value() -> None:
    compare(CHART / "README.md", "values", table_of(DEFAULTS))


def test_every_value_has_a_description() -> None:
    assert undescribed_keys(DEFAULTS) == []


def test_the_schema_knows_exactly_the_keys_of_the_values() -> None:
    assert SCHEMA["properties"].keys() - {"global"} == yaml.safe_load(DEFAULTS).keys()
    assert SCHEMA["additionalProperties"] is False


@pytest.mark.helm
@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("databse.mode=external", "databse"),
        ("database.mode=mysql", "/database/mode"),
        ("services.loader.replicas=many", "/services/loader/replicas"),
        ("services.fetcher.autoscaling.enabled=true", "/services/fetcher"),
        ("services.loader.resources.limits.cpu=1", "/services/loader/resources/limits"),
        ("broker.bootstrapServers=kafka", "/broker/bootstrapServers"),
        ("podSecurityContext.runAsUser=0", "/podSecurityContext/runAsUser"),
        ("services.loader.image.digest=latest", "/services/loader/image/digest"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(option: str, place: str) -> None:
    assert place in refusal("default", option)


@pytest.mark.helm
@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        ("default", ["migration.hook=true"], "migration.hook: a hook runs before"),
        ("default", ["database.mode=external", "database.existingSecret=a"], "database.host: name the external server"),
        ("default", ["database.mode=external", "database.host=a"], "database.existingSecret: name the Secret"),
        ("default", ["broker.mode=external"], "broker.bootstrapServers: name the external Kafka"),
        ("production", ["broker.tls.enabled=false"], "broker.sasl.enabled: Headrace sends no password without TLS"),
        ("default", ["notifications.keys={webhook.url}"], "notifications.existingSecret: name the Secret"),
        ("production", ["services.loader.autoscaling.maxReplicas=7"], "7 replicas for 6 partitions"),
        ("production", ["services.loader.autoscaling.minReplicas=7"], "minReplicas is above maxReplicas"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_reason(values: str, options: list[str], reason: str) -> None:
    assert reason in refusal(values, *options)


@pytest.mark.helm
def test_settings_have_the_keys_of_the_documentation_and_override_the_chart() -> None:
    options = (
        "--set", r"settings.log\.level=debug", "--set", r"services.loader.settings.log\.level=error",
        "--set", r"services.loader.settings.loader\.batch_records=1000000",
        "--set", r"services.notifier.settings.notifier\.channels={console,webhook}",
    )  # fmt: skip
    pods = {
        pod.component: variables_of(pod.spec["containers"][0]) for pod in pods_of(documents_of("default", *options))
    }

    assert pods["cleaner"]["HEADRACE_LOG__LEVEL"] == "debug"
    assert pods["loader"]["HEADRACE_LOG__LEVEL"] == "error"
    assert pods["loader"]["HEADRACE_LOADER__BATCH_RECORDS"] == "1000000"
    assert pods["notifier"]["HEADRACE_NOTIFIER__CHANNELS"] == "console,webhook"
    assert "HEADRACE_LOADER__BATCH_RECORDS" not in pods["cleaner"]


@pytest.mark.helm
def test_a_source_of_ones_own_is_mounted_for_fetcher_and_audit(tmp_path: Path) -> None:
    source = tmp_path / "source.yaml"
    source.write_text("name: example\n")
    documents = documents_of("default", "--set-file", f"services.fetcher.sourceFile={source}")

    for pod in pods_of(documents):
        if pod.component in {"fetcher", "audit"}:
            container = pod.spec["containers"][0]
            assert variables_of(container)["HEADRACE_FETCHER__SOURCE"] == "/etc/headrace/source.yaml"
            assert {"name": "source", "mountPath": "/etc/headrace", "readOnly": True} in container["volumeMounts"]
    assert of_kind(documents, "ConfigMap")["headrace-source"]["data"] == {"source.yaml": "name: example\n"}


@pytest.mark.helm
def test_a_migration_is_a_hook_only_in_an_upgrade() -> None:
    """At the first installation its Secrets and policies do not exist before the release."""
    install = job_of("production")
    upgrade = job_of("production", "--is-upgrade")

    assert "annotations" not in install["metadata"]
    assert upgrade["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert upgrade["spec"]["ttlSecondsAfterFinished"] > 0
    assert "annotations" not in job_of("small", "--is-upgrade")["metadata"]


@pytest.mark.helm
def test_another_image_makes_another_migration() -> None:
    """A Job cannot be changed, so an applied manifest needs another name."""
    assert job_of("default")["metadata"]["name"] != job_of("default", "--set", "image.tag=2.0")["metadata"]["name"]
    assert (
        job_of("default")["metadata"]["name"] == job_of("default", "--set", "audit.enabled=false")["metadata"]["name"]
    )


@pytest.mark.helm
@pytest.mark.parametrize(
    ("values", "connections"), [("dev", 18 * 5 + 16), ("production", 18 * (2 + 6 + 6 + 4 + 2) + 16)]
)
def test_the_notes_name_the_sum_of_database_connections(values: str, connections: int) -> None:
    notes = notes_of(values)

    assert f"Database connections: at most {connections} " in notes
    assert "WARNING" not in notes


@pytest.mark.helm
def test_the_notes_warn_of_what_will_fail_later() -> None:
    notes = notes_of("default", "--set", "services.loader.replicas=30", "--set", "networkPolicy.enabled=false")

    assert "WARNING: set database.maxConnections and max_connections of the server to at least 638" in notes
    assert "WARNING: 30 replicas of the loader share the volume exports, which only one node can mount" in notes
    assert "WARNING: no NetworkPolicies" in notes
    assert "PgBouncer in transaction mode" in notes_of("production")


@pytest.mark.helm
@pytest.mark.parametrize("values", VALUES)
def test_passwords_are_random_and_kept(values: str) -> None:
    process = [helm("template", "headrace", CHART, *values_option(values)).stdout for _ in range(2)]

    passwords = [re.findall(r"^  headrace_\w+\.password: (\S+)$", text, re.MULTILINE) for text in process]

    assert not set(passwords[0]) & set(passwords[1])
    assert len(passwords[0]) == len(set(passwords[0])) == (0 if values == "production" else 7)


def job_of(values: str, *options: str) -> dict[str, Any]:
    (job,) = of_kind(documents_of(values, *options), "Job").values()
    return job


def notes_of(values: str, *options: str) -> str:
    command = ["install", "headrace", str(CHART), "--dry-run=client", "--namespace", "headrace"]
    process = helm(*command, *values_option(values), *options)
    assert process.returncode == 0, process.stderr
    return process.stdout.partition("\nNOTES:\n")[2]
