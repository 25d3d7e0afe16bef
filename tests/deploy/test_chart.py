"""The Helm chart: rendered and linted by Helm's own code, checked against the schemas of Kubernetes."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway
from gateway.settings import Settings, read_settings
from tests.deploy.chart import CHART, FLEET, Rendered, Values, render

helm = pytest.importorskip("helm_python", reason="no helm-python-sdk")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate")

VERSIONS = ("1.27", kubernetes_validate.latest_version())
"""The oldest that Chart.yaml allows, and the newest that there are schemas of."""
NO_SCHEMA = {"ServiceMonitor"}
"""Kinds of operators, not of Kubernetes."""
CASES: dict[str, Values] = {
    "as it is": {},
    "a fleet with everything": FLEET,
    "a state of one's own": {
        "replicas": 2,
        "state": {"url": "rediss://state.example:7000/0", "passwordSecret": {"name": "state", "key": "pw"}},
    },
    "without a disk": {"persistence": {"enabled": False}, "networkPolicy": {"enabled": False}},
    "on chosen nodes": {
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
        "podAnnotations": {"owner": "ml"},
        "podLabels": {"team": "ml"},
        "service": {"type": "LoadBalancer", "annotations": {"example.com/internal": "true"}},
    },
}


@pytest.fixture(params=CASES)
def values(request: pytest.FixtureRequest) -> Values:
    return CASES[request.param]


@pytest.fixture
def rendered(values: Values) -> Rendered:
    return render(values)


def test_helm_finds_nothing_wrong(values: Values) -> None:
    said = helm.lint(CHART, values, strict=True)

    assert said["errors"] == []
    # Severity 1 is advice: an icon.
    assert [one for one in said["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(rendered: Rendered, version: str) -> None:
    for one in rendered.objects:
        if one["kind"] not in NO_SCHEMA:
            kubernetes_validate.validate(one, version, strict=True)


def test_no_object_is_there_twice_and_each_belongs_to_the_release(rendered: Rendered) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered.objects]

    assert len(names) == len(set(names))
    labels = [one["metadata"]["labels"] for one in rendered.objects]
    assert {each["app.kubernetes.io/instance"] for each in labels} == {"stepdown"}


def test_no_container_has_rights_or_writes_outside_its_volumes(rendered: Rendered) -> None:
    for pod in pods(rendered):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]


def test_every_mount_has_its_volume(rendered: Rendered) -> None:
    for workload in rendered.of_kind("StatefulSet"):
        pod = workload["spec"]["template"]["spec"]
        claims = workload["spec"].get("volumeClaimTemplates", [])
        volumes = {one["name"] for one in pod["volumes"]} | {one["metadata"]["name"] for one in claims}
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_secrets_are_files_and_never_variables(rendered: Rendered) -> None:
    for pod in pods(rendered):
        for container in containers(pod):
            variables = container.get("env", [])
            assert all("valueFrom" not in one for one in variables)
            mounts = {one["mountPath"] for one in container["volumeMounts"]}
            for one in variables:
                if one["name"].endswith("_FILE"):
                    assert str(Path(one["value"]).parent) in mounts
    assert rendered.of_kind("Secret") == []


def test_every_named_secret_file_is_mounted() -> None:
    pod = render(FLEET).gateway_pod
    [secrets] = [one["projected"]["sources"] for one in pod["volumes"] if one["name"] == "secrets"]
    mounted = {f"/run/secrets/stepdown/{item['path']}" for one in secrets for item in one["secret"]["items"]}

    [container] = pod["containers"]
    named = {one["value"] for one in container["env"] if one["name"].endswith("_FILE")}
    assert named == mounted - {"/run/secrets/stepdown/metrics-token"}
    assert pod["initContainers"][0]["args"][-1] in mounted


@pytest.mark.parametrize(("delay", "drain"), [(5, 20), (0, 600), (2.5, 0.5)])
def test_the_pod_is_not_killed_before_its_drain_is_over(delay: float, drain: float) -> None:
    """RELIABILITY.md: delay, drain, and 8 s for the ends of workers and the model host."""
    pod = render({"drainDelaySeconds": delay, "drainSeconds": drain}).gateway_pod
    settings = Variables(pod)

    assert float(settings["STEPDOWN_SERVER_DRAIN_DELAY_S"]) == delay
    assert float(settings["STEPDOWN_SERVER_DRAIN_S"]) == drain
    assert pod["terminationGracePeriodSeconds"] > math.ceil(delay) + math.ceil(drain) + 8


def test_probes_ask_pages_that_ask_nobody_else() -> None:
    [container] = render({}).gateway_pod["containers"]
    pages = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert {name: page["path"] for name, page in pages.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {page["port"] for page in pages.values()} == {"http"}
    # A process has 60 s before its first sign of life, and 10 s between two: the supervisor is first.
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] > 60
    assert container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"] > 30


def test_services_budgets_and_network_policies_select_the_pods(rendered: Rendered) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"].items() for one in rendered.of_kind("StatefulSet")
    ]
    selectors = [one["spec"]["selector"] for one in rendered.of_kind("Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in rendered.of_kind("PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in rendered.of_kind("NetworkPolicy")]

    for selector in selectors:
        assert sum(selector.items() <= each for each in labels) == 1


def test_one_pod_may_go_and_a_single_one_never_stops_a_drain_of_its_node() -> None:
    [budget] = render({}).of_kind("PodDisruptionBudget")

    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]


def test_a_pod_talks_to_teachers_names_and_the_state_alone() -> None:
    def ports(values: Values) -> list[int]:
        policies = {one["metadata"]["name"]: one["spec"] for one in render(values).of_kind("NetworkPolicy")}
        return [port["port"] for rule in policies["stepdown"]["egress"] for port in rule["ports"]]

    assert ports({}) == [53, 53, 443]
    assert ports(FLEET) == [53, 53, 6379, 443]
    assert ports(CASES["a state of one's own"]) == [53, 53, 7000, 443]
    assert ports({"state": {"url": "redis://state.example/0"}}) == [53, 53, 6379, 443]


def test_valkey_hears_gateways_alone_and_calls_nobody() -> None:
    [policy] = [
        one["spec"] for one in render(FLEET).of_kind("NetworkPolicy") if "valkey" in one["metadata"]["name"]
    ]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    [rule] = policy["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"


def test_the_admin_plane_is_open_for_metrics_alone() -> None:
    assert "STEPDOWN_SERVER_ADMIN_HOST" not in Variables(render({}).gateway_pod)
    assert Variables(render(FLEET).gateway_pod)["STEPDOWN_SERVER_ADMIN_HOST"] == "0.0.0.0"
    ports = [port["name"] for one in render({}).of_kind("Service") for port in one["spec"]["ports"]]
    assert "admin" not in ports


def test_the_monitor_finds_the_pods_with_a_token_under_the_name_that_alerts_use() -> None:
    fleet = render(FLEET)
    [monitor] = [one["spec"] for one in fleet.of_kind("ServiceMonitor")]
    [endpoint] = monitor["endpoints"]

    wanted = monitor["selector"]["matchLabels"].items()
    [service] = [one for one in fleet.of_kind("Service") if wanted <= one["metadata"]["labels"].items()]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "stepdown"
    assert endpoint["authorization"]["credentials"] == {"name": "stepdown-metrics", "key": "token"}


def test_changed_settings_and_policies_start_the_pods_anew() -> None:
    def checksum(values: Values) -> str:
        [workload] = render(values).of_kind("StatefulSet")
        return str(workload["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    one = checksum({})
    assert checksum({"workers": 2}) == one
    assert checksum({"settings": "[learn]\nenabled = false\n"}) != one
    assert checksum({"policies": {"a.yaml": "policies: []"}}) != one


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "share no state"),
        ({"valkey": {"enabled": True}}, "valkey.passwordSecret.name"),
        ({**FLEET, "state": {"url": "redis://mine/0"}}, "exclude each other"),
        ({"metrics": {"enabled": True}}, "metrics.tokenSecret.name"),
        ({"metrics": {"serviceMonitor": {"enabled": True}}}, "needs metrics.enabled"),
        ({"replica": 3}, "replica"),
        ({"state": {"url": "http://state"}}, "url"),
    ],
)
def test_what_would_not_work_is_refused_with_a_word_of_help(values: Values, said: str) -> None:
    with pytest.raises(helm.HelmError, match=said):
        render(values)


def test_replicas_without_shared_state_are_possible_if_that_is_said() -> None:
    [workload] = render({"replicas": 3, "independent": True}).of_kind("StatefulSet")

    assert workload["spec"]["replicas"] == 3


def test_the_gateway_reads_what_the_chart_writes(tmp_path: Path) -> None:
    """The pod's variables and files, with paths below a folder, give the settings that the values say."""
    values = {
        **FLEET,
        "workers": 4,
        "settings": '[harvest]\nkeep_days = 30\n[prices."gpt-4o"]\ninput = 2.0\noutput = 8.0\n',
    }
    if "state" not in Settings.__struct_fields__:
        # A version without shared state.
        values = {**values, "replicas": 1, "valkey": {"enabled": False}}
    fleet = render(values)

    settings = read_settings(fleet.unpack(tmp_path))

    assert (settings.server.workers, settings.server.drain_delay_s) == (4, 5.0)
    assert settings.server.admin_host == "0.0.0.0"
    assert settings.harvest.keep_days == 30
    assert settings.upstream.api_key is not None
    assert settings.policies.folder is not None
    assert Path(settings.policies.folder, "support.yaml").read_text() == "policies: []"


def test_the_chart_is_of_this_version_and_its_user_is_the_images() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == gateway.__version__
    user = render({}).gateway_pod["securityContext"]["runAsUser"]
    assert f"\nUSER {user}\n" in (CHART.parent / "Dockerfile").read_text()


def test_the_script_that_starts_valkey_sets_the_password_and_keeps_it_out_of_sight(tmp_path: Path) -> None:
    """It is run with a server that prints its arguments and its configuration."""
    rendered = render(FLEET)
    [pod] = [one for one in pods(rendered) if one["containers"][0]["name"] == "valkey"]
    [config] = [one for one in rendered.of_kind("ConfigMap") if "valkey.conf" in one["data"]]
    for folder in ("etc/valkey", "run/secrets/valkey", "run/valkey", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/valkey/valkey.conf").write_text(config["data"]["valkey.conf"])
    (tmp_path / "run/secrets/valkey/password").write_text("s3cret")
    server = tmp_path / "bin/valkey-server"
    server.write_text('#!/bin/sh\necho "arguments: $*"\ncat "$1"\n')
    server.chmod(0o755)
    shell, flags, script = pod["containers"][0]["command"]
    for folder in ("/etc/valkey", "/run/secrets", "/run/valkey"):
        script = script.replace(f"{folder}/", f"{tmp_path}{folder}/")

    ended = subprocess.run(
        [shell, flags, script],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    first, *lines = ended.stdout.splitlines()
    assert "s3cret" not in first
    assert lines[-1] == "requirepass s3cret"
    assert "maxmemory-policy noeviction" in lines
    assert (tmp_path / "run/valkey/valkey.conf").stat().st_mode & 0o077 == 0


class Variables(dict[str, str]):
    """The variables of the gateway's container, by name."""

    def __init__(self, pod: dict[str, Any]) -> None:
        super().__init__({one["name"]: one["value"] for one in pod["containers"][0]["env"]})


def pods(rendered: Rendered) -> Iterator[dict[str, Any]]:
    for workload in rendered.of_kind("StatefulSet"):
        yield workload["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]
