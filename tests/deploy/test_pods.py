"""Pods: security context, resources, volumes, probes, termination, spreading."""

from __future__ import annotations

import pytest

from .manifests import OVERLAYS, WORKLOADS, Manifest, containers, find, of_kind, overlay, pod_of

BENTOML_KILLS_AFTER_S = 30
"""Seconds between SIGTERM and SIGKILL of BentoML's processes (see `DRAIN_TIMEOUT_S`)."""

SERVERS = [("local", "xception"), ("production", "xception"), ("gpu", "xception"), ("gpu", "xception-runner")]

everything = pytest.mark.parametrize("name", OVERLAYS)
servers = pytest.mark.parametrize(("name", "deployment"), SERVERS)


def server(name: str, deployment: str) -> Manifest:
    """Return the container of the service."""
    (found,) = pod_of(find(overlay(name), "Deployment", deployment))["containers"]
    return found


@everything
def test_pods_have_no_unneeded_privileges(name: str) -> None:
    for workload in of_kind(overlay(name), *WORKLOADS):
        pod = pod_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(key in pod for key in ("hostNetwork", "hostPID", "hostIPC"))
        for container in containers(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@everything
def test_all_containers_have_requests_and_limits(name: str) -> None:
    for workload in of_kind(overlay(name), *WORKLOADS):
        for container in containers(workload):
            resources = container["resources"]
            assert set(resources["limits"]) >= {"cpu", "memory"}
            assert set(resources["requests"]) >= {"cpu", "memory"}


def test_production_has_the_qos_class_guaranteed() -> None:
    for container in containers(find(overlay("production"), "Deployment", "xception")):
        assert container["resources"]["requests"] == container["resources"]["limits"]


@everything
def test_writable_folders_are_volumes(name: str) -> None:
    for workload in of_kind(overlay(name), *WORKLOADS):
        volumes = {volume["name"] for volume in pod_of(workload)["volumes"]}
        for container in containers(workload):
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounted) <= volumes
            assert "/tmp" in mounted.values()


@servers
def test_the_cache_volume_is_mounted_at_the_cache_folder(name: str, deployment: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    for container in containers(find(overlay(name), "Deployment", deployment)):
        assert {"name": "cache", "mountPath": settings["MODEL_CACHE_DIR"]} in container["volumeMounts"]


@servers
def test_probes(name: str, deployment: str) -> None:
    container = server(name, deployment)
    startup, live, ready = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
    # A pod that waits for a model is not ready, but must not be restarted.
    assert [probe["httpGet"] for probe in (startup, live, ready)] == [
        {"path": path, "port": "http"} for path in ("/livez", "/livez", "/readyz")
    ]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["http"] == 3000


@servers
def test_the_grace_period_covers_prestop_and_drain(name: str, deployment: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    pod = pod_of(find(overlay(name), "Deployment", deployment))
    before_s = 0
    if stop := server(name, deployment).get("lifecycle"):
        program, seconds = stop["preStop"]["exec"]["command"]
        assert program == "sleep"
        before_s = int(seconds)
    assert (before_s > 0) == (deployment == "xception")  # Clients connect to it through a Service.
    assert float(settings["DRAIN_TIMEOUT_S"]) < BENTOML_KILLS_AFTER_S
    assert pod["terminationGracePeriodSeconds"] > before_s + BENTOML_KILLS_AFTER_S


@servers
def test_rollouts_start_new_pods_first_except_on_a_gpu(name: str, deployment: str) -> None:
    strategy = find(overlay(name), "Deployment", deployment)["spec"]["strategy"]
    if deployment == "xception-runner":
        assert strategy == {"type": "Recreate"}
    else:
        assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("name", ["local", "production", "gpu"])
def test_manifests_contain_no_secrets(name: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    assert not any("TOKEN" in key or "SECRET" in key or "ACCESS_KEY" in key for key in settings)
    assert not of_kind(overlay(name), "Secret")


def test_an_init_container_that_cannot_pull_does_not_block_the_pod() -> None:
    (pull,) = pod_of(find(overlay("production"), "Deployment", "xception"))["initContainers"]
    shell, option, script = pull["args"]
    assert (shell, option) == ("sh", "-c")
    assert "|| echo" in script
    assert "command" not in pull  # The entry point of the image forwards signals.


def test_replicas_are_spread_and_disrupted_one_at_a_time() -> None:
    pod = pod_of(find(overlay("production"), "Deployment", "xception"))
    assert [one["topologyKey"] for one in pod["topologySpreadConstraints"]] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert find(overlay("production"), "PriorityClass", pod["priorityClassName"])["globalDefault"] is False
    budget = find(overlay("production"), "PodDisruptionBudget", "xception")["spec"]
    assert budget["maxUnavailable"] == 1
    assert find(overlay("production"), "HorizontalPodAutoscaler", "xception")["spec"]["minReplicas"] > 1
