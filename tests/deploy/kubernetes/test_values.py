"""What the values promise: documented, checked, and refused where they cannot work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.notifier.settings import NotifierSection, NotifierSettings
from shared.settings.loading import load
from tests.deploy.kubernetes.chart import (
    CHART,
    NOTIFIER_VALUES,
    SECRETS_DIR,
    VALUES,
    documents_of,
    helm,
    of_kind,
    pods_of,
    secret_files,
    service_pods,
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
        ("notifier.channels={pigeon}", "/notifier/channels/0"),
        ("notifier.bot.guildId=111111111111111111", "/notifier/bot/guildId"),
        (r"notifier.bot.roles.444444444444444444=admin", "/notifier/bot/roles"),
        ("notifier.email.security=none", "/notifier/email/security"),
        ("notifier.slack.webhooks[0].name=ops", "/notifier/slack/webhooks/0"),
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
        ("default", ["notifier.webhook.urls[0].key=webhook.url"], "notifier.existingSecret: name the Secret"),
        ("notifier", ["notifier.bot.guildId="], "notifier.bot.guildId: name the Discord server"),
        ("notifier", ["notifier.bot.enabled=false"], "notifier.channels: discord-bot needs notifier.bot.enabled"),
        ("notifier", ["notifier.bot.channel="], "notifier.channels: discord-bot needs notifier.bot.enabled"),
        ("notifier", ["notifier.email.from="], "notifier.email: host and from must be set together"),
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
def test_the_notifier_has_what_its_values_select(tmp_path: Path) -> None:
    pod = service_pods(documents_of("notifier"))["notifier"]
    for name in secret_files(pod):
        (tmp_path / name).write_text("https://example.org/")
    (tmp_path / "headrace.yaml").touch()
    variables = {
        name: value.replace(SECRETS_DIR, f"{tmp_path}/")
        for name, value in variables_of(pod.spec["containers"][0]).items()
    }

    settings = load(NotifierSettings, variables, tmp_path / "headrace.yaml").notifier

    assert settings == NotifierSection(
        channels=yaml.safe_load(NOTIFIER_VALUES.read_text())["notifier"]["channels"],
        rules_file=Path("/etc/headrace/notifier/rules.yaml"),
        bot_token_file=tmp_path / "bot.token",
        bot_api_token_file=tmp_path / "bot_api.token",
        bot_guild_id=111111111111111111,
        bot_channel=222222222222222222,
        bot_board_channel=333333333333333333,
        bot_roles=("444444444444444444=operate", "555555555555555555=read"),
        discord_webhook_file=tmp_path / "discord_webhook.url",
        slack_webhook_files=(f"{tmp_path}/slack.url", f"ops={tmp_path}/slack_ops.url"),
        webhook_url_file=tmp_path / "webhook.url",
        webhook_url_files=(f"desk={tmp_path}/webhook_desk.url",),
        email_host="mail.example.org",
        email_port=465,
        email_security="tls",
        email_user="headrace",
        email_password_file=tmp_path / "mail.password",
        email_ca_file=tmp_path / "mail-ca.crt",
        email_from="headrace@example.org",
        email_to=("desk@example.org", "night=a@example.org"),
    )


@pytest.mark.helm
def test_only_the_notifier_has_the_secrets_that_its_values_name() -> None:
    files = {pod.component: secret_files(pod) for pod in pods_of(documents_of("notifier"))}

    assert {name for name, (secret, _) in files["notifier"].items() if secret == "notifier"} == {
        "bot.token", "bot_api.token", "discord_webhook.url", "mail.password", "slack.url", "slack_ops.url",
        "webhook.url", "webhook_desk.url",
    }  # fmt: skip
    assert files["notifier"]["mail-ca.crt"] == ("mail-ca", "ca.crt")
    assert {
        component
        for component, each in files.items()
        if {"notifier", "mail-ca"} & {secret for secret, _ in each.values()}
    } == {"notifier"}


@pytest.mark.helm
def test_a_bot_without_a_token_for_the_services_starts_with_a_warning() -> None:
    options = ("--set", "notifier.bot.apiTokenKey=")
    pod = service_pods(documents_of("notifier", *options))["notifier"]

    assert "HEADRACE_NOTIFIER__BOT_API_TOKEN_FILE" not in variables_of(pod.spec["containers"][0])
    assert "bot_api.token" not in secret_files(pod)
    assert "WARNING: the bot has no token for the services" in notes_of("notifier", *options)
    assert "WARNING" not in notes_of("notifier")


@pytest.mark.helm
def test_changed_rules_reach_a_running_notifier(tmp_path: Path) -> None:
    """The kubelet updates a ConfigMap that is mounted as a directory. Nothing else changes, so no pod restarts."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: {}\n")
    before = documents_of("notifier")
    after = documents_of("notifier", "--set-file", f"notifier.rules={rules}")

    container = service_pods(before)["notifier"].spec["containers"][0]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "rules"]
    assert mount == {"name": "rules", "mountPath": "/etc/headrace/notifier", "readOnly": True}
    # Passwords are random in each rendering.
    changed = [each for each in after if each not in before and each["kind"] != "Secret"]
    assert changed == [of_kind(after, "ConfigMap")["headrace-rules"]]
    assert of_kind(after, "ConfigMap")["headrace-rules"]["data"] == {"rules.yaml": "rules: {}\n"}


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
