"""Every overlay and every optional component builds, and is valid for Kubernetes 1.30."""

from __future__ import annotations

import shutil
from pathlib import Path

import kubernetes_validate
import pytest

from .exchanges import EXCHANGES, exchanged
from .manifests import DEPLOY, OVERLAYS, WORKLOADS, Manifest, build, containers, find, of_kind, overlay, pod_of

KUBERNETES = "1.30"

CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds whose schemas come with an operator; they are not validated."""

CLUSTER_WIDE = {"Namespace", "PriorityClass"}


def require_valid(manifests: list[Manifest]) -> None:
    """Fail if a manifest violates its schema, has an unknown field, or occurs twice."""
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in manifests]
    assert len(set(names)) == len(names)
    for one in manifests:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
        assert (one["metadata"].get("namespace") == "xception") == (one["kind"] not in CLUSTER_WIDE), one["metadata"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_valid(name: str) -> None:
    require_valid(overlay(name))


def test_every_overlay_is_tested() -> None:
    assert {path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml")} == set(OVERLAYS)


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_alternative_of_production_is_valid(name: str, tmp_path: Path) -> None:
    require_valid(exchanged("production", tmp_path, name))


def test_an_unknown_field_is_detected() -> None:
    deployment = find(overlay("local"), "Deployment", "xception")
    spoiled = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        require_valid([spoiled])


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_match_their_own_pods(name: str) -> None:
    manifests = overlay(name)
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind(manifests, *WORKLOADS)]
    for deployment in of_kind(manifests, "Deployment"):
        selector = deployment["spec"]["selector"]["matchLabels"].items()
        assert [labels for labels in pods if selector <= labels.items()] == [
            deployment["spec"]["template"]["metadata"]["labels"]
        ]
    for service in of_kind(manifests, "Service"):
        chosen = [one for one in pods if service["spec"]["selector"].items() <= one.items()]
        assert len(chosen) == 1, service["metadata"]["name"]
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        assert any(budget["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in pods)


@pytest.mark.parametrize("name", OVERLAYS)
def test_ports_of_services_exist(name: str) -> None:
    manifests = overlay(name)
    for service in of_kind(manifests, "Service"):
        ports = {
            port["name"]
            for workload in of_kind(manifests, *WORKLOADS)
            if service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            for container in containers(workload)
            for port in container.get("ports", [])
        }
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_has_one_image_with_a_version(name: str) -> None:
    version = {image.rpartition(":")[2] for one in of_kind(overlay(name), *WORKLOADS) for image in images(one)}
    assert len(version) == 1
    assert "latest" not in version
    for workload in of_kind(overlay(name), *WORKLOADS):
        assert len(images(workload)) == 1, workload["metadata"]["name"]


def images(workload: Manifest) -> set[str]:
    """Return the images of a workload's pods."""
    return {container["image"] for container in containers(workload)}


def test_a_changed_setting_is_a_rollout(tmp_path: Path) -> None:
    copy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    settings = copy / "base" / "settings.env"
    settings.write_text(settings.read_text().replace("MODEL_VERSION=stable", "MODEL_VERSION=3"))
    before, after = (find(one, "Deployment", "xception") for one in (overlay("local"), build(copy / "overlays/local")))
    names = [
        {
            source["configMapRef"]["name"]
            for one in containers(each)
            for source in one["envFrom"]
            if "configMapRef" in source
        }
        for each in (before, after)
    ]
    assert [len(each) for each in names] == [1, 1]
    assert names[0] != names[1]


def test_edges_of_the_gpu_overlay_have_no_credentials_and_no_model() -> None:
    edges = find(overlay("gpu"), "Deployment", "xception")
    assert "initContainers" not in pod_of(edges)
    assert [source for one in containers(edges) for source in one["envFrom"] if "secretRef" in source] == []
    runner = find(overlay("gpu"), "Deployment", "xception-runner")
    assert [one["name"] for one in containers(runner)] == ["pull", "server"]
    assert all(any("secretRef" in source for source in one["envFrom"]) for one in containers(runner))


def test_edges_have_the_address_of_the_runner() -> None:
    manifests = overlay("gpu")
    settings = find(manifests, "ConfigMap", "xception-settings")["data"]
    service = find(manifests, "Service", "xception-runner")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert settings["RUNNER_URL"] == f"http://{service['metadata']['name']}:{ports['http']}"
    assert int(settings["RUNNER_PORT"]) == ports["frames"]
    runner = find(manifests, "Deployment", "xception-runner")
    assert runner["spec"]["replicas"] == 1
    assert {port["name"]: port["containerPort"] for one in containers(runner) for port in one.get("ports", [])} == ports
