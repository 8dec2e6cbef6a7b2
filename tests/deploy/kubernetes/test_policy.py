"""Rules that hold for every rendered resource: rights, secrets, network, settings, availability."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from headrace.database.access import ROLES
from headrace.database.embedded import OWNER
from shared.runtime.process.run import GRACE_S
from shared.settings.loading import load
from shared.settings.sections import ServiceSettings, Settings
from shared.settings.sources import setting_fields, variable_of
from shared.topics import SERVICES
from tests.deploy.kubernetes.chart import (
    SECRETS_DIR,
    VALUES,
    Document,
    Pod,
    config_files,
    documents_of,
    of_kind,
    pods_of,
    secret_files,
    selects,
    service_pods,
    variables_of,
)

pytestmark = pytest.mark.helm
each_values = pytest.mark.parametrize("values", VALUES)
each_service = pytest.mark.parametrize("service", SERVICES)
VOLUME_KINDS = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}
PASSWORD_IN_URL = re.compile(r"://[^/@]*:[^/@]*@")
# Pods that use the database besides the services.
JOBS = {"migration", "audit", "training", "test", "cli"}


@each_values
def test_every_pod_is_restricted(values: str) -> None:
    """The profile `restricted` of the Pod Security Standards, and a read-only root file system."""
    for pod in pods_of(documents_of(values)):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.name
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        assert all(not VOLUME_KINDS.isdisjoint(volume) for volume in pod.spec.get("volumes", []))
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, f"{pod.name}/{container['name']}"
            assert not any("hostPort" in port for port in container.get("ports", []))


@each_values
def test_every_container_has_requests_and_a_memory_limit_but_no_cpu_limit(values: str) -> None:
    for pod in pods_of(documents_of(values)):
        for container in pod.containers:
            resources = container["resources"]
            assert resources["requests"].keys() == {"cpu", "memory"}, f"{pod.name}/{container['name']}"
            assert resources["limits"].keys() == {"memory"}


def test_memory_is_enough_for_predictions_and_trainings() -> None:
    pods = {pod.component: pod for pod in pods_of(documents_of("production"))}

    assert pods["predictor"].spec["containers"][0]["resources"]["limits"]["memory"] == "2Gi"
    assert pods["training"].spec["containers"][0]["resources"]["limits"]["memory"] == "8Gi"


@each_values
def test_no_pod_has_a_token_of_the_api_server(values: str) -> None:
    documents = documents_of(values)
    accounts = of_kind(documents, "ServiceAccount")

    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for pod in pods_of(documents):
        assert pod.spec["automountServiceAccountToken"] is False, pod.name
        assert pod.spec["enableServiceLinks"] is False
        assert pod.spec.get("serviceAccountName") in {None, *accounts}
    assert not {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"} & {each["kind"] for each in documents}


@each_values
def test_every_secret_is_a_file(values: str) -> None:
    for pod in pods_of(documents_of(values)):
        for container in pod.containers:
            assert "envFrom" not in container
            for variable in container.get("env", []):
                assert "secretKeyRef" not in variable.get("valueFrom", {}), f"{pod.name}: {variable['name']}"
                assert not PASSWORD_IN_URL.search(variable.get("value", ""))
            assert not PASSWORD_IN_URL.search(" ".join([*container.get("command", []), *container.get("args", [])]))


@each_values
def test_a_secret_file_is_readable_by_the_group_of_the_pod_only(values: str) -> None:
    for pod in pods_of(documents_of(values)):
        volumes = [volume for volume in pod.spec.get("volumes", []) if "projected" in volume]
        assert all(volume["projected"]["defaultMode"] == 0o440 for volume in volumes), pod.name
        assert pod.spec["securityContext"]["fsGroup"] == pod.spec["securityContext"]["runAsGroup"]
        assert not any("secret" in volume for volume in pod.spec.get("volumes", []))
        for container in pod.containers:
            mounts = [mount for mount in container.get("volumeMounts", []) if mount["name"] == "secrets"]
            assert all(mount["readOnly"] and f"{mount['mountPath']}/" == SECRETS_DIR for mount in mounts)


@each_values
def test_every_file_that_a_variable_names_is_mounted(values: str) -> None:
    documents = documents_of(values)
    for pod in pods_of(documents):
        mounted = {SECRETS_DIR + name for name in secret_files(pod)} | config_files(documents, pod)
        for container in pod.containers:
            for name, value in variables_of(container).items():
                if name.endswith("_FILE"):
                    assert value in mounted, f"{pod.name}: {name}"
                assert set(re.findall(rf"{SECRETS_DIR}[\w.-]+", value)) <= mounted


@each_values
@each_service
def test_a_service_has_its_own_login_and_no_other_password(values: str, service: str) -> None:
    pod = service_pods(documents_of(values))[service]
    url = variables_of(pod.spec["containers"][0])["HEADRACE_DATABASE__URL"]

    passwords = {name for name in secret_files(pod) if name.startswith("headrace_")}

    assert passwords == {f"headrace_{service}.password"}
    assert url.startswith(f"postgresql://headrace_{service}@")


@each_values
def test_a_service_has_its_own_token_and_the_command_has_all(values: str) -> None:
    """Jobs call no admin API. The notifier's bot has a delegate token, which `headrace token` can revoke."""
    pods = {pod.component: pod for pod in pods_of(documents_of(values))}
    tokens = {name: {file for file in secret_files(pod) if file.endswith(".token")} for name, pod in pods.items()}
    bot = {"bot.token", "bot_api.token"} if values == "notifier" else set()

    own = {service: {f"{service}.token"} for service in SERVICES}
    own["notifier"] |= bot
    assert {name: files for name, files in tokens.items() if files} == own | {"cli": {f"{s}.token" for s in SERVICES}}
    for service in SERVICES:
        variables = variables_of(pods[service].spec["containers"][0])
        assert variables["HEADRACE_ADMIN__TOKEN_FILE"] == f"{SECRETS_DIR}{service}.token"
    assert variables_of(pods["cli"].spec["containers"][0])["HEADRACE_ADMIN__TOKEN_DIR"] == SECRETS_DIR.rstrip("/")


def test_a_generated_secret_has_another_token_for_each_service() -> None:
    tokens = of_kind(documents_of("default"), "Secret")["headrace-admin"]["data"]

    assert tokens.keys() == {f"{service}.token" for service in SERVICES}
    assert len(set(tokens.values())) == len(SERVICES)


@each_values
def test_only_operators_pods_have_the_owners_password(values: str) -> None:
    with_password = {pod.component for pod in pods_of(documents_of(values)) if f"{OWNER}.password" in secret_files(pod)}

    assert with_password - {"postgresql"} == {"migration", "audit", "cli", "test"}


@each_values
def test_the_migration_has_the_password_of_each_role(values: str) -> None:
    migration = next(pod for pod in pods_of(documents_of(values)) if pod.component == "migration")

    assert {f"{role}.password" for role in (*ROLES, OWNER)} <= secret_files(migration).keys()
    assert migration.spec["containers"][0]["command"] == ["headrace", "migrate", "--passwords", SECRETS_DIR.rstrip("/")]


@each_values
def test_every_variable_is_a_setting_that_exists(values: str) -> None:
    of_services = {service: settings_of(model_of(service)) for service in SERVICES}
    every = settings_of(Settings).union(*of_services.values())

    for pod in pods_of(documents_of(values)):
        known = of_services.get(pod.component, every)
        for container in pod.containers:
            names = [each["name"] for each in container.get("env", [])]
            assert len(names) == len(set(names)), f"{pod.name}: a variable occurs twice"
            assert {name for name in names if name.startswith("HEADRACE_")} <= known, pod.name


@each_values
@each_service
def test_a_service_accepts_its_settings(values: str, service: str, tmp_path: Path) -> None:
    pod = service_pods(documents_of(values))[service]
    for name in secret_files(pod):
        (tmp_path / name).write_text("x" * 32)
    (tmp_path / "headrace.yaml").touch()
    environment = {
        name: value.replace(SECRETS_DIR, f"{tmp_path}/")
        for name, value in variables_of(pod.spec["containers"][0]).items()
    }

    settings = load(model_of(service), environment, tmp_path / "headrace.yaml")

    assert (settings.admin.host, settings.admin.port) == ("0.0.0.0", 8080)
    assert settings.service.slot == "auto"
    assert settings.broker.partitions == 6
    assert settings.admin.refusal_to_send_token("http://10.244.3.7:8080") is None
    assert settings.admin.refusal_to_send_token("http://192.0.2.1:8080") is not None


@each_values
@each_service
def test_others_reach_a_replica_at_the_address_of_its_pod(values: str, service: str) -> None:
    container = service_pods(documents_of(values))[service].spec["containers"][0]
    names = [each["name"] for each in container["env"]]

    assert container["env"][0] == {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    assert variables_of(container)["HEADRACE_ADMIN__ADVERTISED_URL"] == "http://$(POD_IP):8080"
    # Kubernetes replaces only variables that are defined before.
    assert names.index("POD_IP") < names.index("HEADRACE_ADMIN__ADVERTISED_URL")


@each_values
@each_service
def test_a_service_waits_for_the_schema_with_its_own_login(values: str, service: str) -> None:
    pod = service_pods(documents_of(values))[service]
    waiting, main = pod.containers

    assert waiting["command"] == ["sh", "-c", "until headrace migrate --check; do sleep 3; done"]
    assert waiting["image"].split(":")[0].endswith("headrace/cli")
    assert waiting["env"] == main["env"]


@each_values
@each_service
def test_a_service_has_all_three_probes(values: str, service: str) -> None:
    container = service_pods(documents_of(values))[service].spec["containers"][0]

    paths = {each: container[f"{each}Probe"]["httpGet"]["path"] for each in ("startup", "liveness", "readiness")}

    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]


@each_values
@each_service
def test_a_stop_leaves_time_for_the_open_unit(values: str, service: str) -> None:
    pod = service_pods(documents_of(values))[service]
    sleep_s = pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert sleep_s >= 1
    assert pod.spec["terminationGracePeriodSeconds"] >= sleep_s + GRACE_S + 30


@each_values
@each_service
def test_a_rollout_and_a_drain_stop_one_replica_at_a_time(values: str, service: str) -> None:
    documents = documents_of(values)
    deployment = of_kind(documents, "Deployment")[f"headrace-{service}"]
    budget = of_kind(documents, "PodDisruptionBudget")[f"headrace-{service}"]

    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


@each_values
@each_service
def test_replicas_are_spread_if_possible(values: str, service: str) -> None:
    deployment = of_kind(documents_of(values), "Deployment")[f"headrace-{service}"]
    constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]

    assert {each["topologyKey"] for each in constraints} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(each["whenUnsatisfiable"] == "ScheduleAnyway" for each in constraints)
    assert all(each["labelSelector"] == deployment["spec"]["selector"] for each in constraints)


@each_values
def test_a_deployment_that_an_autoscaler_owns_has_no_replicas(values: str) -> None:
    """Helm 4 applies on the server, and a field that two managers set is a conflict."""
    documents = documents_of(values, "--set", "services.loader.replicas=2")
    owned = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(documents, "ScaledObject").values()}

    for name in owned:
        assert "replicas" not in of_kind(documents, "Deployment")[name]["spec"]


def test_without_a_number_of_replicas_the_chart_leaves_it_to_others() -> None:
    deployments = of_kind(documents_of("default"), "Deployment")

    assert all("replicas" not in deployments[f"headrace-{service}"]["spec"] for service in SERVICES)


@each_values
@each_service
def test_a_service_is_reached_even_if_it_is_not_ready(values: str, service: str) -> None:
    documents = documents_of(values)
    spec = of_kind(documents, "Service")[f"headrace-{service}"]["spec"]

    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert selects({"matchLabels": spec["selector"]}, service_pods(documents)[service].labels)


@each_values
def test_every_pod_is_denied_what_no_policy_allows(values: str) -> None:
    documents = documents_of(values)
    deny_all = of_kind(documents, "NetworkPolicy")["headrace-deny-all"]["spec"]

    assert deny_all["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny_all.keys()
    assert all(selects(deny_all["podSelector"], pod.labels) for pod in pods_of(documents))


@each_values
def test_every_port_is_in_a_policy(values: str) -> None:
    documents = documents_of(values)

    for pod in pods_of(documents):
        allowed = {port["port"] for rule in rules_of(documents, pod, "ingress") for port in rule["ports"]}
        ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        assert ports == allowed, pod.name


@each_values
def test_no_rule_lets_every_pod_in(values: str) -> None:
    documents = documents_of(values)

    assert all(rule["from"] for pod in pods_of(documents) for rule in rules_of(documents, pod, "ingress"))


@each_values
def test_only_fetcher_and_notifier_reach_the_internet(values: str) -> None:
    documents = documents_of(values)

    assert {pod.component for pod in pods_of(documents) if 443 in egress_ports(documents, pod)} == {
        "fetcher",
        "notifier",
    }


@each_values
def test_services_and_jobs_reach_the_database_and_the_broker(values: str) -> None:
    documents = documents_of(values)
    broker = {"small": 9093, "production": 9093}.get(values)

    for pod in pods_of(documents):
        ports = egress_ports(documents, pod)
        assert 53 in ports
        assert (5432 in ports) == (pod.component in {*SERVICES, *JOBS}), pod.name
        if broker:
            assert (broker in ports) == (pod.component in {*SERVICES, *JOBS} - {"training", "test"}), pod.name


@each_values
def test_the_command_reaches_every_service(values: str) -> None:
    documents = documents_of(values)
    pods = {pod.component: pod for pod in pods_of(documents)}

    for component in ("cli", "test"):
        assert 8080 in egress_ports(documents, pods[component])
    for service in SERVICES:
        peers = [peer for rule in rules_of(documents, pods[service], "ingress") for peer in rule["from"]]
        assert any(selects(peer["podSelector"], pods["cli"].labels) for peer in peers if "podSelector" in peer)


@each_values
def test_the_notifier_calls_the_services_only_if_it_has_a_bot(values: str) -> None:
    documents = documents_of(values)
    pods = service_pods(documents)
    notifier = pods["notifier"]

    called = {
        service
        for service in SERVICES
        for rule in rules_of(documents, pods[service], "ingress")
        if any(selects(peer["podSelector"], notifier.labels) for peer in rule["from"] if "podSelector" in peer)
    }

    assert called == (set(SERVICES) if values == "notifier" else set())
    assert (8080 in egress_ports(documents, notifier)) == (values == "notifier")


def test_only_the_notifier_reaches_the_mail_server() -> None:
    documents = documents_of("notifier")

    assert {pod.component for pod in pods_of(documents) if 465 in egress_ports(documents, pod)} == {"notifier"}
    assert of_kind(documents, "NetworkPolicy")["headrace-mail"]["spec"]["egress"] == [
        {"ports": [{"port": 465, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "192.0.2.32/32"}}]}
    ]


@each_values
def test_jobs_do_not_overlap_and_end(values: str) -> None:
    jobs = of_kind(documents_of(values), "CronJob")

    assert jobs.keys() == {"headrace-audit", "headrace-training"}
    for job in jobs.values():
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert job["spec"]["timeZone"] == "Etc/UTC"
        assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0


@each_values
def test_data_outlives_the_release(values: str) -> None:
    documents = documents_of(values)
    kept = {"PersistentVolumeClaim", "Secret", "Cluster", "Kafka", "KafkaNodePool", "KafkaTopic"}

    for document in documents:
        if document["kind"] in kept:
            assert document["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", document["metadata"][
                "name"
            ]


@each_values
def test_every_image_has_a_version(values: str) -> None:
    images = {container["image"] for pod in pods_of(documents_of(values)) for container in pod.containers}

    assert all(re.fullmatch(r"[\w./-]+:\d[\w.]*", image) for image in images), images


def model_of(service: str) -> type[ServiceSettings]:
    model: type[ServiceSettings] = getattr(import_module(f"services.{service}.settings"), f"{service.title()}Settings")
    return model


def settings_of(model: type[Settings]) -> set[str]:
    """The variables of all settings."""
    return {variable_of(leaf.key) for leaf in setting_fields(model)}


def rules_of(documents: list[Document], pod: Pod, direction: str) -> Iterator[dict[str, Any]]:
    """The rules of all policies that select the pod."""
    for policy in of_kind(documents, "NetworkPolicy").values():
        if selects(policy["spec"]["podSelector"], pod.labels):
            yield from policy["spec"].get(direction, [])


def egress_ports(documents: list[Document], pod: Pod) -> set[int]:
    return {port["port"] for rule in rules_of(documents, pod, "egress") for port in rule["ports"]}


def test_a_backup_has_the_owners_password_and_writes_only_to_its_own_claim() -> None:
    documents = documents_of("default", "--set", "backup.enabled=true", "--set", "backup.keep=3")
    (pod,) = [pod for pod in pods_of(documents) if pod.component == "backup"]
    (container,) = pod.containers

    assert container["command"] == ["headrace", "backup", "/backups", "--keep", "3"]
    assert f"{OWNER}.password" in secret_files(pod)
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"tmp", "backups"}
    assert {"name": "archive", "mountPath": "/var/lib/headrace/archive", "readOnly": True} in container["volumeMounts"]
    claim = of_kind(documents, "PersistentVolumeClaim")["headrace-backup"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert 5432 in egress_ports(documents, pod)
