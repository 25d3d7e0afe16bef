"""The chart as a cluster would get it: its objects, and a pod's variables and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy/chart"
Values = dict[str, Any]
FLEET: Values = {
    "replicas": 3,
    "credentials": {"OPENAI_API_KEY": {"secret": "stepdown-teacher", "key": "api-key"}},
    "environment": {"OPENAI_BASE_URL": "https://teacher.example/v1"},
    "policies": {"support.yaml": "policies: []"},
    "valkey": {"enabled": True, "passwordSecret": {"name": "stepdown-valkey"}},
    "metrics": {
        "enabled": True,
        "tokenSecret": {"name": "stepdown-metrics"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
}
"""Values with every part switched on."""


class Rendered:
    """The objects of a release called `stepdown`."""

    def __init__(self, manifests: dict[str, str]) -> None:
        self.objects: list[dict[str, Any]] = [
            one
            for name, text in manifests.items()
            if name.endswith(".yaml")
            for one in yaml.safe_load_all(text)
            if one
        ]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of that kind."""
        return [one for one in self.objects if one["kind"] == kind]

    @property
    def gateway_pod(self) -> dict[str, Any]:
        """What a gateway's pod is made from."""
        [found] = [one for one in self.of_kind("StatefulSet") if one["metadata"]["name"] == "stepdown"]
        pod: dict[str, Any] = found["spec"]["template"]["spec"]
        return pod

    def unpack(self, root: Path) -> dict[str, str]:
        """Write the files of a gateway's pod below `root`; return its variables, which name them there.

        Each secret's value is its path in the pod.
        """
        pod = self.gateway_pod
        [container] = pod["containers"]
        mounts = {one["name"]: root / one["mountPath"].lstrip("/") for one in container["volumeMounts"]}
        volumes = {one["name"]: one for one in pod["volumes"]}
        maps = {one["metadata"]["name"]: one["data"] for one in self.of_kind("ConfigMap")}
        settings = volumes["settings"]["configMap"]
        for item in settings["items"]:
            _write(mounts["settings"] / item["path"], maps[settings["name"]][item["key"]])
        for source in volumes["secrets"]["projected"]["sources"] if "secrets" in mounts else ():
            for item in source["secret"]["items"]:
                _write(mounts["secrets"] / item["path"], item["path"])
        variables = {one["name"]: one["value"] for one in container["env"]}
        # The image's working folder, where the settings file is looked for.
        variables["STEPDOWN_CONFIG"] = "/etc/stepdown/stepdown.toml"
        return {
            name: f"{root}{value}" if value.startswith(("/etc/", "/run/", "/var/")) else value
            for name, value in variables.items()
        }


def render(values: Values) -> Rendered:
    """Return what Helm makes of the chart with `values`. Raises HelmError for values that are refused."""
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        return Rendered(chart.render(values, name="stepdown", namespace="ai"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
