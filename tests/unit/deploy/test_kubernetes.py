"""The manifests: by the API's schemas, and how they fit each other, the image and the drain."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from equipoise.config.load import load
from tests.support.shipping import ROOT, documents, usage_error

FOLDER = ROOT / "deploy/kubernetes"
MANIFESTS = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
ALL = [document for path in MANIFESTS for document in documents(path)]
LABELS = {"app.kubernetes.io/name": "equipoise"}


def of(kind: str) -> list[Any]:
    return [document for document in ALL if document["kind"] == kind]


def pod() -> Any:
    (deployment,) = of("Deployment")
    return deployment["spec"]["template"]["spec"]


def container() -> Any:
    (only,) = pod()["containers"]
    return only


def ports() -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container()["ports"]}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_schemas_are_kept(path: Path) -> None:
    kubernetes = importlib.import_module("kubernetes_validate")
    for document in documents(path):
        kubernetes.validate(document, kubernetes.latest_version(), strict=True)


def test_all_of_them_are_applied() -> None:
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


def test_the_image_is_the_one_that_is_named_by_kustomize() -> None:
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    assert [image["name"] for image in kustomization["images"]] == [container()["image"]]


def test_everything_selects_the_pods() -> None:
    (deployment,) = of("Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"] == LABELS
    selectors = [document["spec"]["selector"] for document in of("Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in (*of("Deployment"), *of("PodDisruptionBudget"))]
    selectors += [document["spec"]["podSelector"]["matchLabels"] for document in of("NetworkPolicy")]
    assert len(selectors) == 5
    assert all(selector == LABELS for selector in selectors)


def test_every_port_that_is_named_is_there() -> None:
    named = [port["targetPort"] for document in of("Service") for port in document["spec"]["ports"]]
    named += [rule["ports"][0]["port"] for rule in of("NetworkPolicy")[0]["spec"]["ingress"]]
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    named += [container()[probe]["httpGet"]["port"] for probe in probes]
    assert set(named) == ports().keys()


def test_the_configuration_listens_on_these_ports() -> None:
    config = load(FOLDER / "equipoise.toml")
    assert config.listen == (f"0.0.0.0:{ports()['http']}",)
    assert config.admin.listen == f"0.0.0.0:{ports()['admin']}"


def test_the_command_is_one_of_ours() -> None:
    assert usage_error(container()["args"]) is None


def test_a_pod_is_not_ended_for_its_targets() -> None:
    """Only readiness asks whether some target is up: a restart brings none back."""
    asked = {probe: container()[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}


def test_a_pod_is_killed_after_the_pause_and_the_drain() -> None:
    command, pause = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    drain = load(FOLDER / "equipoise.toml").limits.drain_timeout
    assert pod()["terminationGracePeriodSeconds"] >= int(pause) + drain + 5


def test_a_pod_leaves_when_its_successor_is_ready() -> None:
    (deployment,) = of("Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_it_may_do_no_more_than_it_needs() -> None:
    assert pod()["securityContext"]["runAsNonRoot"]
    assert not pod()["automountServiceAccountToken"]
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_is_the_user_of_the_image() -> None:
    context = pod()["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in (ROOT / "Dockerfile").read_text()


def test_what_it_writes_to_is_mounted() -> None:
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container()["volumeMounts"]}
    assert {path for path, volume in mounts.items() if "emptyDir" in volume} == {"/var/lib/equipoise", "/tmp"}
    assert "configMap" in mounts["/etc/equipoise"]


def test_the_admin_api_is_kept_from_other_namespaces() -> None:
    (policy,) = of("NetworkPolicy")
    open_to_all = [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert open_to_all == ["http"]
