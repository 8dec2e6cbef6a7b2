"""Checks deploy/docker-compose.yml: as YAML, and with the compose client if it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from headrace.database.access import ROLES
from headrace.database.embedded import OWNER
from services.notifier.settings import NotifierSection, NotifierSettings
from shared.settings.loading import load
from shared.settings.sections import KafkaSettings, ServiceSettings, Settings
from shared.settings.sources import setting_fields, variable_of
from shared.topics import SERVICES

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"migrate", "train", "cli"}
SECRETS = "/run/secrets/"
# The notifier's own directories: of secrets, and of the rules.
NOTIFIER_SECRETS = f"{SECRETS}notifier/"
NOTIFIER_FILES = "/etc/headrace/notifier"
# Everything about notifications that deploy/.env can select.
NOTIFICATIONS = {
    "HEADRACE_CHANNELS": "console,discord-bot,slack/ops,email,webhook",
    "HEADRACE_RULES_FILE": f"{NOTIFIER_FILES}/rules.yaml",
    "HEADRACE_BOT_GUILD_ID": "111111111111111111",
    "HEADRACE_BOT_CHANNEL": "222222222222222222",
    "HEADRACE_BOT_BOARD_CHANNEL": "333333333333333333",
    "HEADRACE_BOT_ROLES": "444444444444444444=operate,555555555555555555=read",
    "HEADRACE_EMAIL_HOST": "mail.example.org",
    "HEADRACE_EMAIL_PORT": "465",
    "HEADRACE_EMAIL_SECURITY": "tls",
    "HEADRACE_EMAIL_USER": "headrace",
    "HEADRACE_EMAIL_CA_FILE": f"{NOTIFIER_FILES}/mail-ca.pem",
    "HEADRACE_EMAIL_FROM": "headrace@example.org",
    "HEADRACE_EMAIL_TO": "desk@example.org,night-shift=a@example.org",
    "HEADRACE_SLACK_WEBHOOK_FILES": f"ops={NOTIFIER_SECRETS}slack.url",
    "HEADRACE_WEBHOOK_URL_FILE": f"{NOTIFIER_SECRETS}webhook.url",
    "HEADRACE_WEBHOOK_URL_FILES": f"second={NOTIFIER_SECRETS}second.url",
}


def model_of(service: str) -> type[ServiceSettings]:
    model: type[ServiceSettings] = getattr(import_module(f"services.{service}.settings"), f"{service.title()}Settings")
    return model


def environment_of(service: str, **variables: str) -> dict[str, str]:
    """The environment that compose passes to a service if only `variables` are set outside."""
    return {name: substituted(value, **variables) for name, value in CONTAINERS[service]["environment"].items()}


def substituted(text: object, **variables: str) -> str:
    """The text with variables replaced as compose does: `:-` before a default, `:+` before the text if it is set."""

    def value(match: re.Match[str]) -> str:
        name, kind, word = match.groups()
        return word if (kind == "+") == bool(variables.get(name)) else variables.get(name, "")

    return re.sub(r"\$\{(\w+):([-+])([^}]*)\}", value, str(text))


def test_the_file_has_all_five_services() -> None:
    assert COMPOSE["name"] == "headrace"
    assert set(SERVICES) | {"postgres", "kafka", "migrate"} <= CONTAINERS.keys()


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_minimal_rights(name: str) -> None:
    container = CONTAINERS[name]

    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in container
    assert "/tmp" in container["tmpfs"]


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - {"postgres"}))
def test_a_container_does_not_run_as_root(name: str) -> None:
    assert int(substituted(CONTAINERS[name]["user"]).split(":")[0]) > 0


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - ONE_SHOT))
def test_a_long_running_container_has_a_health_check(name: str) -> None:
    assert CONTAINERS[name]["healthcheck"]["test"][0] == "CMD"
    assert CONTAINERS[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", SERVICES)
def test_the_health_check_of_a_service_needs_no_curl(service: str) -> None:
    test = CONTAINERS[service]["healthcheck"]["test"]

    assert test[1] == "python"
    assert "/livez" in test[-1]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_stop_leaves_a_container_10_seconds(name: str) -> None:
    assert int(CONTAINERS[name]["stop_grace_period"].removesuffix("s")) >= 10


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_after_the_database_is_prepared(service: str) -> None:
    depends_on = CONTAINERS[service]["depends_on"]

    assert depends_on["postgres"]["condition"] == "service_healthy"
    assert depends_on["kafka"] == {"condition": "service_healthy", "required": False}
    assert depends_on["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", CONTAINERS)
def test_ports_are_on_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in CONTAINERS[name].get("ports", []))


def test_no_two_containers_share_a_port() -> None:
    """A service has a free port for each replica."""
    ports = [port.split(":")[1] for container in CONTAINERS.values() for port in container.get("ports", [])]
    fixed = [port for port in ports if port]

    assert len(fixed) == len(set(fixed))
    assert all(CONTAINERS[service]["ports"] == ["127.0.0.1::8080"] for service in SERVICES)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_limits(name: str) -> None:
    assert "mem_limit" in CONTAINERS[name]
    assert CONTAINERS[name]["pids_limit"] > 0
    assert 0 < float(substituted(CONTAINERS[name]["cpus"])) <= 2


def test_the_database_is_unreachable_from_outside() -> None:
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert CONTAINERS["postgres"]["networks"] == ["database"]
    assert "ports" not in CONTAINERS["postgres"]


def has_way_out(network: dict[str, Any]) -> bool:
    """Whether the answers of hosts outside the machine reach the containers of the network."""
    translates = network.get("driver_opts", {}).get("com.docker.network.bridge.enable_ip_masquerade") != "false"
    return translates and substituted(network.get("internal", "false")).lower() != "true"


def test_only_those_that_need_it_have_a_way_out_of_the_machine() -> None:
    networks = {name for name, network in COMPOSE["networks"].items() if has_way_out(network)}

    assert networks == {"outside"}
    assert {name for name, each in CONTAINERS.items() if networks & set(each["networks"])} == {
        "fetcher", "notifier", "alertmanager",
    }  # fmt: skip


def test_the_way_out_is_the_default_route_of_those_that_have_it() -> None:
    """Of the networks of a container that are not internal, Docker takes the first by name."""
    for container in CONTAINERS.values():
        external = [name for name in container["networks"] if "internal" not in COMPOSE["networks"][name]]
        assert "outside" not in external or min(external) == "outside"


def test_a_container_is_only_on_the_networks_that_it_needs() -> None:
    """A service reaches no container of the observability but Prometheus; the simulator reaches only the fetcher."""
    members = {
        network: {name for name, container in CONTAINERS.items() if network in container["networks"]}
        for network in COMPOSE["networks"]
    }

    assert members == {
        "database": {"postgres", "migrate", "cli", "train", *SERVICES},
        "broker": {"kafka", "migrate", "cli", *SERVICES},
        "services": {"cli", "prometheus", *SERVICES},
        "simulation": {"simulator", "fetcher"},
        "telemetry": {"prometheus", "alertmanager", "grafana"},
        "outside": {"fetcher", "notifier", "alertmanager"},
    }


@pytest.mark.parametrize("name", [name for name, container in CONTAINERS.items() if "ports" in container])
def test_a_published_port_is_on_a_network_that_is_not_internal(name: str) -> None:
    """Docker publishes no port of a container that is only on internal networks."""
    assert any("internal" not in COMPOSE["networks"][network] for network in CONTAINERS[name]["networks"])


def test_a_token_is_read_only_by_its_service_and_the_command() -> None:
    readers = {
        secret: {name for name, container in CONTAINERS.items() if secret in container.get("secrets", [])}
        for secret in COMPOSE["secrets"]
        if secret.endswith(".token")
    }

    assert readers == {f"{service}.token": {service, "cli"} for service in SERVICES}


def test_the_command_has_the_token_of_each_service(tmp_path: Path) -> None:
    environment = environment_of("cli") | {"HEADRACE_DATABASE__PASSWORD_FILE": str(tmp_path / "password")}
    (tmp_path / "password").write_text("x")
    (tmp_path / "headrace.yaml").touch()

    admin = load(Settings, environment, tmp_path / "headrace.yaml").admin

    assert {str(admin.token_file_for(service)) for service in SERVICES} == {
        environment_of(service)["HEADRACE_ADMIN__TOKEN_FILE"] for service in SERVICES
    }


def test_the_data_volume_is_where_postgresql_18_expects_it() -> None:
    assert CONTAINERS["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_one_variable_selects_the_broker_of_all_services(name: str) -> None:
    assert environment_of(name)["HEADRACE_BROKER__URL"] == "kafka://kafka:9092"
    assert environment_of(name, HEADRACE_BROKER="embedded")["HEADRACE_BROKER__URL"] == "embedded"
    assert "broker" in CONTAINERS[name]["networks"]


def test_kafka_is_unreachable_from_outside_and_advertises_the_address_that_services_use() -> None:
    kafka = CONTAINERS["kafka"]
    settings = environment_of("kafka")

    assert substituted(COMPOSE["networks"]["broker"]["internal"]) == "true"
    assert kafka["networks"] == ["broker"]
    assert "ports" not in kafka
    assert f"kafka://{settings['KAFKA_ADVERTISED_LISTENERS'].removeprefix('PLAINTEXT://')}" == "kafka://kafka:9092"
    assert "CONTROLLER://localhost" in settings["KAFKA_LISTENERS"]


def test_kafka_has_a_data_volume_and_time_for_a_clean_stop() -> None:
    """After a kill, a node may expose records of aborted transactions, more often with a short cleanup interval."""
    kafka = CONTAINERS["kafka"]

    assert kafka["volumes"] == [f"kafka:{environment_of('kafka')['KAFKA_LOG_DIRS']}"]
    assert kafka["stop_signal"] == "SIGTERM"
    assert int(kafka["stop_grace_period"].removesuffix("s")) >= 60
    assert not [name for name in kafka["environment"] if "CLEANUP_INTERVAL" in name]


def test_replication_settings_default_to_the_brokers(tmp_path: Path) -> None:
    factors = {"HEADRACE_KAFKA_REPLICATION_FACTOR": "3", "HEADRACE_KAFKA_MIN_INSYNC_REPLICAS": "2"}
    (tmp_path / "headrace.yaml").touch()

    def kafka_of(**variables: str) -> KafkaSettings:
        environment = environment_of("migrate", **variables)
        kafka_variables = {name: value for name, value in environment.items() if name.startswith("HEADRACE_KAFKA")}
        return load(Settings, kafka_variables, tmp_path / "headrace.yaml").kafka

    assert (kafka_of().replication_factor, kafka_of().min_insync_replicas) == (None, None)
    assert (kafka_of(**factors).replication_factor, kafka_of(**factors).min_insync_replicas) == (3, 2)


def test_the_internal_topics_of_one_node_have_one_replica() -> None:
    replication = {
        name: value for name, value in environment_of("kafka").items() if "REPLICATION" in name or "ISR" in name
    }

    assert set(replication.values()) == {"1"}
    assert len(replication) == 5


def test_the_migrate_job_runs_the_migrate_command() -> None:
    job = CONTAINERS["migrate"]

    assert job["command"] == ["migrate", "--passwords", "/run/secrets"]
    assert "entrypoint" not in job
    assert 'ENTRYPOINT ["headrace"]' in (DEPLOY / "docker" / "cli.Dockerfile").read_text()
    assert {f"{role}.password" for role in (OWNER, *ROLES)} == set(job["secrets"])


@pytest.mark.parametrize("name", [name for name, container in CONTAINERS.items() if "environment" in container])
def test_secrets_are_files(name: str) -> None:
    container = CONTAINERS[name]
    environment = environment_of(name, **NOTIFICATIONS)
    directories = {"HEADRACE_ADMIN__TOKEN_DIR": SECRETS.rstrip("/")}
    secrets = {
        key: value
        for key, value in environment.items()
        if value and re.search("PASSWORD|TOKEN|SECRET", key) and directories.get(key) != value
    }
    own = {value for value in secrets.values() if name == "notifier" and value.startswith(NOTIFIER_SECRETS)}

    assert all(key.endswith("_FILE") and value.startswith(SECRETS) for key, value in secrets.items())
    assert {each.removeprefix(SECRETS) for each in {*secrets.values()} - own} <= set(container.get("secrets", []))
    assert not [value for value in environment.values() if re.search(r"://[^/@]*:[^/@]*@", value)]


def test_every_secret_is_a_file_outside_git() -> None:
    assert all(secret["file"].startswith("./secrets/") for secret in COMPOSE["secrets"].values())
    assert (DEPLOY / "secrets" / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_logs_in_as_itself_with_its_own_password(service: str) -> None:
    environment = environment_of(service)

    assert environment["HEADRACE_DATABASE__URL"] == f"postgresql://headrace_{service}@postgres:5432/headrace"
    assert environment["HEADRACE_DATABASE__PASSWORD_FILE"] == f"{SECRETS}headrace_{service}.password"
    assert environment["HEADRACE_ADMIN__TOKEN_FILE"] == f"{SECRETS}{service}.token"
    assert set(CONTAINERS[service]["secrets"]) == {f"headrace_{service}.password", f"{service}.token"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_of_the_service(service: str) -> None:
    settings = {variable_of(leaf.key) for leaf in setting_fields(model_of(service))}

    assert {name for name in environment_of(service) if name.startswith("HEADRACE_")} <= settings


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_accepts_its_settings(service: str, tmp_path: Path) -> None:
    for secret in CONTAINERS[service]["secrets"]:
        (tmp_path / secret).write_text("x" * 32)
    environment = {name: value.replace(SECRETS, f"{tmp_path}/") for name, value in environment_of(service).items()}
    (tmp_path / "headrace.yaml").touch()

    settings = load(model_of(service), environment, tmp_path / "headrace.yaml")
    assert settings.admin.advertised_url == f"http://{service}:8080"
    assert settings.admin.refusal_to_send_token(settings.admin.advertised_url) is None
    assert settings.admin.refusal_to_send_token("http://0c1d2e3f4a5b:8080") is not None
    assert settings.admin.port == 8080
    assert settings.broker.url == "kafka://kafka:9092"


def notifier_settings(folder: Path, **variables: str) -> NotifierSettings:
    """What the notifier makes of the variables. Its secrets are files of the folder."""
    for secret in CONTAINERS["notifier"]["secrets"]:
        (folder / secret).write_text("x" * 32)
    environment = environment_of("notifier", **variables)
    (folder / "headrace.yaml").touch()
    replaced = {name: value.replace(SECRETS, f"{folder}/") for name, value in environment.items()}
    return load(NotifierSettings, replaced, folder / "headrace.yaml")


def test_the_notifier_has_the_default_settings_if_nothing_is_selected(tmp_path: Path) -> None:
    assert notifier_settings(tmp_path).notifier == NotifierSection()


def test_the_notifier_has_what_the_variables_select(tmp_path: Path) -> None:
    secrets = tmp_path / "notifier"
    secrets.mkdir()
    for name in ("bot.token", "bot_api.token", "mail.password", "slack.url", "webhook.url", "second.url"):
        (secrets / name).write_text("x")

    settings = notifier_settings(tmp_path, **NOTIFICATIONS).notifier

    assert settings == NotifierSection(
        channels=("console", "discord-bot", "slack/ops", "email", "webhook"),
        rules_file=Path(f"{NOTIFIER_FILES}/rules.yaml"),
        bot_guild_id=111111111111111111,
        bot_token_file=secrets / "bot.token",
        bot_api_token_file=secrets / "bot_api.token",
        bot_channel=222222222222222222,
        bot_board_channel=333333333333333333,
        bot_roles=("444444444444444444=operate", "555555555555555555=read"),
        email_host="mail.example.org",
        email_port=465,
        email_security="tls",
        email_user="headrace",
        email_password_file=secrets / "mail.password",
        email_ca_file=Path(f"{NOTIFIER_FILES}/mail-ca.pem"),
        email_from="headrace@example.org",
        email_to=("desk@example.org", "night-shift=a@example.org"),
        slack_webhook_files=(f"ops={secrets}/slack.url",),
        webhook_url_file=secrets / "webhook.url",
        webhook_url_files=(f"second={secrets}/second.url",),
    )


def test_the_example_names_every_variable_of_notifications() -> None:
    example = (DEPLOY / ".env.example").read_text()

    assert all(re.search(f"^{name}=", example, re.MULTILINE) for name in NOTIFICATIONS)


def test_the_notifiers_own_files_are_directories_that_only_it_and_the_command_read() -> None:
    """A container keeps a file that is mounted alone as it was, if another one replaces it on the host."""
    mounted = {
        name: [volume for volume in container.get("volumes", []) if "notifier" in volume]
        for name, container in CONTAINERS.items()
    }
    files = f"./notifier:{NOTIFIER_FILES}:ro"

    assert {name: volumes for name, volumes in mounted.items() if volumes} == {
        "notifier": [files, f"./secrets/notifier:{NOTIFIER_SECRETS.rstrip('/')}:ro"],
        "cli": [files],
    }
    assert (DEPLOY / "notifier" / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]


def test_discord_by_a_webhook_keeps_the_channels_of_the_operator() -> None:
    discord = yaml.safe_load((DEPLOY / "docker-compose.discord.yml").read_text())
    channels = discord["services"]["notifier"]["environment"]["HEADRACE_NOTIFIER__CHANNELS"]

    assert substituted(channels) == "console,discord"
    assert substituted(channels, HEADRACE_CHANNELS="discord,email") == "discord,email"


@pytest.mark.parametrize("name", [name for name, container in CONTAINERS.items() if "build" in container])
def test_an_image_is_built_from_its_own_dockerfile(name: str) -> None:
    build = CONTAINERS[name]["build"]
    dockerfile = (DEPLOY / build["context"] / build["dockerfile"]).resolve()

    assert dockerfile.is_file()
    assert dockerfile.stem == {"migrate": "cli"}.get(name, name)


@pytest.mark.parametrize("name", ["postgres", "kafka", "prometheus", "alertmanager", "grafana"])
def test_a_third_party_image_has_a_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d[\w.]*", substituted(CONTAINERS[name]["image"]))


def test_optional_containers_have_a_profile() -> None:
    profiles = {name: container["profiles"] for name, container in CONTAINERS.items() if "profiles" in container}

    assert profiles == {
        "kafka": ["kafka"],
        "simulator": ["simulator"],
        "cli": ["cli"],
        "prometheus": ["observability"],
        "alertmanager": ["observability"],
        "grafana": ["observability"],
        "train": ["train"],
    }


@pytest.mark.parametrize("name", [name for name, container in CONTAINERS.items() if "depends_on" in container])
def test_nothing_requires_kafka(name: str) -> None:
    """Without its profile, a hard dependency on it makes `docker compose start` and `run` fail."""
    assert not CONTAINERS[name]["depends_on"].get("kafka", {}).get("required", False)


def test_the_command_reaches_database_broker_and_services() -> None:
    cli = CONTAINERS["cli"]

    assert set(cli["networks"]) == {"database", "broker", "services"}
    assert set(cli["secrets"]) == {f"{OWNER}.password", *(f"{service}.token" for service in SERVICES)}
    assert 'ENTRYPOINT ["headrace"]' in (DEPLOY / "docker" / "cli.Dockerfile").read_text()
    assert environment_of("cli")["HEADRACE_BROKER__URL"] == environment_of("migrate")["HEADRACE_BROKER__URL"]


def test_the_command_does_not_migrate() -> None:
    """`docker compose run` starts what a service depends on."""
    assert CONTAINERS["cli"]["depends_on"].keys() == {"postgres", "kafka"}


def test_the_example_has_the_variables_of_the_services_and_their_defaults() -> None:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if re.match("[A-Z]", line))
    used = {
        match[1]: match[2]
        for match in re.finditer(r"\$\{(\w+):-([^}]*)\}", (DEPLOY / "docker-compose.yml").read_text())
    }

    assert example.pop("COMPOSE_PROFILES") == "kafka"
    assert example.pop("COMPOSE_FILE") == "docker-compose.yml"
    assert {name: used[name] for name in example} == example


def test_the_training_job_has_no_token_of_the_services() -> None:
    assert CONTAINERS["train"]["secrets"] == ["headrace_predictor.password"]
    assert CONTAINERS["train"]["networks"] == ["database"]
    assert environment_of("train")["HEADRACE_ADMIN__TOKEN_FILE"] == ""


@pytest.mark.slow
def test_the_training_job_starts_with_the_predictors_settings(database_url: str, tmp_path: Path) -> None:
    """It stops at the history, because the database is empty."""
    (tmp_path / "password").write_text(unquote(urlsplit(database_url).password or ""))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")} | {
        "PYTHONPATH": str(DEPLOY.parent),
        "HEADRACE_DATABASE__URL": re.sub(r"://([^:]+):[^@]*@", r"://\1@", database_url),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(tmp_path / "password"),
        "HEADRACE_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, *CONTAINERS["train"]["command"][1:]]

    process = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)

    assert process.returncode == 2
    assert "there is no settled event to learn from" in process.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def client() -> list[str]:
    """The compose client: docker's plugin or the separate program."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            process = subprocess.run([*command, "version"], check=False, capture_output=True)
            if process.returncode == 0:
                return command
    pytest.skip("no compose client: install docker's compose plugin (or put docker-compose on PATH) to check the file")


@pytest.mark.containers
@pytest.mark.parametrize("more", ["", ":docker-compose.discord.yml", ":docker-compose.archive.yml"])
def test_the_compose_client_accepts_the_files(client: list[str], more: str, tmp_path: Path) -> None:
    """Both files beside the first one are selected in `.env`."""
    directory = shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets", ".env"))
    example = (DEPLOY / ".env.example").read_text()
    variables = example.replace("COMPOSE_FILE=docker-compose.yml", f"COMPOSE_FILE=docker-compose.yml{more}")
    (directory / ".env").write_text(f"{variables}HEADRACE_RECORDED_ARCHIVE={tmp_path}\n")
    environment = {name: value for name, value in os.environ.items() if not re.match("HEADRACE_|COMPOSE_", name)}

    command = [*client, "--profile", "*", "config"]
    process = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=directory)

    assert process.returncode == 0, process.stderr
    assert not process.stderr
    config = yaml.safe_load(process.stdout)
    assert config["services"].keys() == CONTAINERS.keys()
    assert all(port["host_ip"] == "127.0.0.1" for each in config["services"].values() for port in each.get("ports", []))
    recorded = [each for each in config["services"]["fetcher"]["volumes"] if each["target"] == "/recorded"]
    assert [(each["source"], each["read_only"]) for each in recorded] == (
        [(str(tmp_path), True)] if "archive" in more else []
    )


@pytest.mark.containers
def test_the_compose_client_reads_the_variables_as_these_tests_do(client: list[str], tmp_path: Path) -> None:
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in NOTIFICATIONS.items()))
    environment = {name: value for name, value in os.environ.items() if not re.match("HEADRACE_|COMPOSE_", name)}

    def variables(env_file: Path) -> dict[str, str]:
        options = ["-f", str(DEPLOY / "docker-compose.yml"), "--env-file", str(env_file)]
        process = subprocess.run(
            [*client, *options, "config"], check=True, capture_output=True, text=True, env=environment
        )
        notifier: dict[str, str] = yaml.safe_load(process.stdout)["services"]["notifier"]["environment"]
        return notifier

    assert variables(tmp_path / "env") == environment_of("notifier", **NOTIFICATIONS)
    assert variables(Path(os.devnull)) == environment_of("notifier")


@pytest.mark.containers
def test_kafka_is_used_only_with_its_profile(client: list[str], tmp_path: Path) -> None:
    def services(profiles: str) -> set[str]:
        (tmp_path / "env").write_text(f"COMPOSE_PROFILES={profiles}\n")
        environment = {name: value for name, value in os.environ.items() if name != "COMPOSE_PROFILES"}
        options = ["-f", str(DEPLOY / "docker-compose.yml"), "--env-file", str(tmp_path / "env")]
        command = [*client, *options, "config", "--services"]
        return set(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split())

    default = {"postgres", "migrate", *SERVICES}
    assert services("") == default
    assert services("kafka") == {"kafka", *default}
    assert services("kafka,simulator,observability") == {
        "kafka",
        "simulator",
        "prometheus",
        "alertmanager",
        "grafana",
        *default,
    }
