"""Pods are locked, have bounds, die in order, and their probes ask what they should."""

from __future__ import annotations

import pytest

from .manifests import OVERLAYS, WORKLOADS, Manifest, containers, find, of_kind, overlay, pod_of

BENTOML_KILLS_AFTER_S = 30
"""What BentoML gives its processes between SIGTERM and SIGKILL (`DRAIN_TIMEOUT_S` tells of it)."""

SERVERS = [("local", "xception"), ("production", "xception"), ("gpu", "xception"), ("gpu", "xception-runner")]

everything = pytest.mark.parametrize("name", OVERLAYS)
servers = pytest.mark.parametrize(("name", "deployment"), SERVERS)


def server(name: str, deployment: str) -> Manifest:
    """Return the container that serves."""
    (found,) = pod_of(find(overlay(name), "Deployment", deployment))["containers"]
    return found


@everything
def test_nothing_may_do_what_it_need_not(name: str) -> None:
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
def test_everything_has_bounds(name: str) -> None:
    for workload in of_kind(overlay(name), *WORKLOADS):
        for container in containers(workload):
            resources = container["resources"]
            assert set(resources["limits"]) >= {"cpu", "memory"}
            assert set(resources["requests"]) >= {"cpu", "memory"}


def test_production_is_guaranteed_what_it_asks_for() -> None:
    for container in containers(find(overlay("production"), "Deployment", "xception")):
        assert container["resources"]["requests"] == container["resources"]["limits"]


@everything
def test_what_is_written_to_is_a_volume(name: str) -> None:
    for workload in of_kind(overlay(name), *WORKLOADS):
        volumes = {volume["name"] for volume in pod_of(workload)["volumes"]}
        for container in containers(workload):
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounted) <= volumes
            assert "/tmp" in mounted.values()


@servers
def test_the_cache_is_where_the_settings_say(name: str, deployment: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    for container in containers(find(overlay(name), "Deployment", deployment)):
        assert {"name": "cache", "mountPath": settings["MODEL_CACHE_DIR"]} in container["volumeMounts"]


@servers
def test_probes_mean_what_they_say(name: str, deployment: str) -> None:
    container = server(name, deployment)
    startup, live, ready = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
    # What waits for a model is not ready, but no reason to be started again: nothing else asks /readyz.
    assert [probe["httpGet"] for probe in (startup, live, ready)] == [
        {"path": path, "port": "http"} for path in ("/livez", "/livez", "/readyz")
    ]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["http"] == 3000


@servers
def test_the_end_has_time_for_what_was_taken(name: str, deployment: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    pod = pod_of(find(overlay(name), "Deployment", deployment))
    before_s = 0
    if stop := server(name, deployment).get("lifecycle"):
        word, seconds = stop["preStop"]["exec"]["command"]
        assert word == "sleep"
        before_s = int(seconds)
    assert (before_s > 0) == (deployment == "xception")  # What clients reach through a Service.
    assert float(settings["DRAIN_TIMEOUT_S"]) < BENTOML_KILLS_AFTER_S
    assert pod["terminationGracePeriodSeconds"] > before_s + BENTOML_KILLS_AFTER_S


@servers
def test_a_second_pod_is_there_before_the_first_goes(name: str, deployment: str) -> None:
    strategy = find(overlay(name), "Deployment", deployment)["spec"]["strategy"]
    if deployment == "xception-runner":
        assert strategy == {"type": "Recreate"}
    else:
        assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("name", ["local", "production", "gpu"])
def test_secrets_are_in_no_manifest(name: str) -> None:
    settings = find(overlay(name), "ConfigMap", "xception-settings")["data"]
    assert not any("TOKEN" in key or "SECRET" in key or "ACCESS_KEY" in key for key in settings)
    assert not of_kind(overlay(name), "Secret")


def test_an_init_container_that_cannot_pull_does_not_end_the_pod() -> None:
    (pull,) = pod_of(find(overlay("production"), "Deployment", "xception"))["initContainers"]
    shell, option, script = pull["args"]
    assert (shell, option) == ("sh", "-c")
    assert "|| echo" in script
    assert "command" not in pull  # The image's entry point passes signals on.


def test_replicas_are_spread_and_few_go_at_once() -> None:
    pod = pod_of(find(overlay("production"), "Deployment", "xception"))
    assert [one["topologyKey"] for one in pod["topologySpreadConstraints"]] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert find(overlay("production"), "PriorityClass", pod["priorityClassName"])["globalDefault"] is False
    budget = find(overlay("production"), "PodDisruptionBudget", "xception")["spec"]
    assert budget["maxUnavailable"] == 1
    assert find(overlay("production"), "HorizontalPodAutoscaler", "xception")["spec"]["minReplicas"] > 1
