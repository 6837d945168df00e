"""Network policies: each selects existing pods and ports, and together they allow only the necessary traffic."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from .manifests import WORKLOADS, Manifest, containers, find, labels_of, of_kind, overlay, selects

RESTRICTED = ("production", "gpu", "loadtest")

STORES = ("203.0.113.9", "10.1.2.3", "2001:db8::9", "fd12:3456::9")
"""Possible addresses of a store: public and private, IPv4 and IPv6."""

METADATA = ("169.254.169.254", "169.254.170.23", "fe80::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
"""Link-local addresses, and the metadata services of Amazon's instances and pods and of Google's instances."""

restricted = pytest.mark.parametrize("name", RESTRICTED)


def policies(name: str) -> list[Manifest]:
    """Return the network policies of an overlay."""
    return of_kind(overlay(name), "NetworkPolicy")


def workloads(name: str) -> list[Manifest]:
    """Return the Deployments and Jobs of an overlay; the load test runs in the namespace of production."""
    others = overlay("production") if name == "loadtest" else []
    return of_kind([*overlay(name), *others], *WORKLOADS)


def ports_of(workload: Manifest) -> dict[str, int]:
    """Return the container ports of a workload, by name."""
    return {port["name"]: port["containerPort"] for one in containers(workload) for port in one.get("ports", [])}


def rules(policy: Manifest, direction: str, peers: str) -> Iterator[tuple[list[Manifest], list[Manifest]]]:
    """Yield the peers and ports of each rule of a policy."""
    for rule in policy["spec"].get(direction, []):
        assert rule.get(peers), "a rule without peers allows all of them"
        assert rule.get("ports"), "a rule without ports allows all of them"
        yield rule[peers], rule["ports"]


def entries(name: str, workload: str) -> Iterator[tuple[Manifest, str]]:
    """Yield the peers that may connect to a workload, each with a port."""
    labels = labels_of(find(overlay(name), "Deployment", workload))
    for policy in policies(name):
        if selects(policy["spec"]["podSelector"], labels):
            for peers, ports in rules(policy, "ingress", "from"):
                yield from ((peer, port["port"]) for peer in peers for port in ports)


@pytest.mark.parametrize("name", ["production", "gpu"])
def test_all_other_traffic_is_denied(name: str) -> None:
    spec = find(overlay(name), "NetworkPolicy", "deny-all")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@restricted
def test_policies_select_existing_pods(name: str) -> None:
    everything = [labels_of(one) for one in workloads(name)]
    for policy in policies(name):
        assert any(selects(policy["spec"]["podSelector"], labels) for labels in everything), policy["metadata"]["name"]
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for peers, _ in rules(policy, direction, side):
                within = [peer for peer in peers if set(peer) == {"podSelector"}]
                assert all(any(selects(peer["podSelector"], labels) for labels in everything) for peer in within)


@restricted
def test_ports_of_policies_exist(name: str) -> None:
    for policy in policies(name):
        selected = [one for one in workloads(name) if selects(policy["spec"]["podSelector"], labels_of(one))]
        own = {port for one in selected for port in ports_of(one)}
        for _, ports in rules(policy, "ingress", "from"):
            assert {port["port"] for port in ports} <= own
        for peers, ports in rules(policy, "egress", "to"):
            if all(set(peer) == {"podSelector"} for peer in peers):
                theirs = {
                    port
                    for one in workloads(name)
                    if any(selects(peer["podSelector"], labels_of(one)) for peer in peers)
                    for port in ports_of(one)
                }
                assert {port["port"] for port in ports} <= theirs


def test_only_edges_may_send_pixels() -> None:
    peers = [peer for peer, port in entries("gpu", "xception-runner") if port == "frames"]
    assert peers == [{"podSelector": {"matchLabels": labels_of_edges()}}]
    settings = find(overlay("gpu"), "ConfigMap", "xception-settings")["data"]
    runner = find(overlay("gpu"), "Deployment", "xception-runner")
    assert ports_of(runner)["frames"] == int(settings["RUNNER_PORT"])


def labels_of_edges() -> dict[str, str]:
    """Return the labels by which policies select edges."""
    labels = {"app.kubernetes.io/name": "xception"}
    assert labels.items() <= labels_of(find(overlay("gpu"), "Deployment", "xception")).items()
    return labels


@pytest.mark.parametrize(
    ("name", "workload"), [("production", "xception"), ("gpu", "xception"), ("gpu", "xception-runner")]
)
def test_prometheus_may_scrape(name: str, workload: str) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert (monitoring, "http") in list(entries(name, workload))


def test_edges_of_the_gpu_overlay_may_only_reach_runner_and_dns() -> None:
    policy = find(overlay("gpu"), "NetworkPolicy", "xception")
    reached = [peer for peers, _ in rules(policy, "egress", "to") for peer in peers]
    assert not any("ipBlock" in peer for peer in reached)


def allows(policy: Manifest, address: str) -> bool:
    """Return whether a policy lets pods connect to an address outside of the cluster."""
    target = ip_address(address)
    return any(
        target in ip_network(block["cidr"]) and not any(target in ip_network(one) for one in block.get("except", []))
        for peers, _ in rules(policy, "egress", "to")
        for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer)
    )


@pytest.mark.parametrize(("name", "policy"), [("production", "xception"), ("gpu", "xception-runner")])
def test_the_store_is_reachable_and_metadata_services_are_not(name: str, policy: str) -> None:
    found = find(overlay(name), "NetworkPolicy", policy)
    assert all(allows(found, address) for address in STORES)
    assert [address for address in METADATA if allows(found, address)] == []
