"""The manifests: valid by Kubernetes's own schemas, and true to one another and to the programs."""

import re
from typing import Any

import kubernetes_validate
import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.options import AGGREGATOR, CLIENT, FLEET, NODE
from devit_iot.service.metrics import rows
from tests.shipping.manifests import KUBERNETES, ROOT, Object, load, matches, objects, of_kind, pods

VERSIONS = ("1.28", "1.37")
"""The oldest one with a pod's index as a label, and the newest one known to the validator."""

LABELS = [(workload["metadata"]["name"], pod["metadata"]["labels"]) for workload, pod in pods()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("item", objects(), ids=lambda i: f"{i['kind']}-{i['metadata']['name']}")
def test_each_object_is_what_kubernetes_takes(item: Object, version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize(
    "change", [{"replicas": "two"}, {"replica": 2}, {"template": {"spec": {"containers": 1}}}]
)
def test_the_validator_finds_what_is_wrong(change: dict[str, Any]) -> None:
    workload, _ = next(pods())
    wrong = workload | {"spec": workload["spec"] | change}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_file_is_applied() -> None:
    (kustomization,) = load(KUBERNETES / "kustomization.yaml")
    assert {*kustomization["resources"], "kustomization.yaml"} == {
        path.name for path in KUBERNETES.iterdir()
    }


def test_there_is_an_aggregator_per_shard() -> None:
    (aggregators,) = [s for s in of_kind("StatefulSet") if s["metadata"]["name"] == "aggregator"]
    (fleet,) = [c for c in of_kind("ConfigMap") if c["metadata"]["name"] == "fleet"]
    assert aggregators["spec"]["replicas"] == int(fleet["data"]["DEVIT_SHARDS"]) > 1


def test_every_part_of_the_demo_has_its_nodes_and_their_scaling() -> None:
    parts = range(len(Bundle(ROOT / "devit_iot/demo/bundle").manifest.parts))
    nodes = of_kind("Deployment")
    for part, workload in zip(parts, nodes, strict=True):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert workload["metadata"]["name"] == f"node-{part}"
        assert {"name": "DEVIT_PART", "value": str(part)} in container["env"]
        assert workload["spec"]["selector"]["matchLabels"]["devit/part"] == str(part)
    scaled = [item["spec"]["scaleTargetRef"]["name"] for item in of_kind("HorizontalPodAutoscaler")]
    assert scaled == [workload["metadata"]["name"] for workload in nodes]


def test_scaling_is_by_a_metric_that_we_export() -> None:
    exported = {row.name for row in rows()}
    for item in of_kind("HorizontalPodAutoscaler"):
        (metric,) = item["spec"]["metrics"]
        assert metric["pods"]["metric"]["name"] in exported


def test_every_variable_is_an_option_of_ours() -> None:
    known = {setting.variable for group in (CLIENT, FLEET, NODE, AGGREGATOR) for setting in group}
    texts = [path.read_text() for path in (*KUBERNETES.iterdir(), ROOT / "Containerfile")]
    named = set(re.findall(r"DEVIT_\w+", " ".join(texts)))
    assert named <= known, named - known


@pytest.mark.parametrize(("workload", "pod"), list(pods()), ids=lambda x: x.get("kind", "pod"))
def test_every_pod_is_selected_probed_and_without_rights(workload: Object, pod: Object) -> None:
    assert matches(workload["spec"]["selector"], pod["metadata"]["labels"])
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert {"readinessProbe", "livenessProbe"} <= container.keys()
        assert "memory" in container["resources"]["limits"]


def test_readiness_of_our_services_is_their_health() -> None:
    for _, pod in pods():
        (container,) = pod["spec"]["containers"]
        if container["name"] != "mosquitto":
            assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["livenessProbe"]["httpGet"]["path"] == "/metrics"


def may(peer: dict[str, str], host: dict[str, str], port: int) -> bool:
    """Whether the policies let one pod of the namespace reach another one's port."""
    policies = [item["spec"] for item in of_kind("NetworkPolicy")]

    def allowed(kind: str, where: str, at: dict[str, str], other: dict[str, str]) -> bool:
        return any(
            any("namespaceSelector" not in side and matches(side["podSelector"], other)
                for side in rule[where]) and any(p["port"] == port for p in rule["ports"])
            for policy in policies if matches(policy["podSelector"], at)
            for rule in policy.get(kind, [])
        )  # fmt: skip

    return allowed("egress", "to", peer, host) and allowed("ingress", "from", host, peer)


def test_services_reach_the_broker_and_nothing_else() -> None:
    broker = dict(LABELS)["broker"]
    for name, labels in LABELS:
        assert may(labels, broker, 1883) == (name != "broker"), name
        for other, host in LABELS:
            assert not may(labels, host, 9464), (name, other)
    assert any(policy["spec"]["podSelector"] == {} for policy in of_kind("NetworkPolicy"))
