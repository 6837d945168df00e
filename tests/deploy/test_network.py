"""Who reaches whom: each policy is about pods and ports that are there, and together they close what must be closed."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from .manifests import WORKLOADS, Manifest, containers, find, labels_of, of_kind, overlay, selects

LOCKED = ("production", "gpu", "loadtest")

STORES = ("203.0.113.9", "10.1.2.3", "2001:db8::9", "fd12:3456::9")
"""Where a store may be: anywhere, or within a private network; of both kinds of addresses."""

METADATA = ("169.254.169.254", "169.254.170.23", "fe80::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
"""Where clouds tell a node, or a pod, about itself: Amazon's instances and pods, Google's instances, and the link."""

closed = pytest.mark.parametrize("name", LOCKED)


def policies(name: str) -> list[Manifest]:
    """Return the policies of an overlay."""
    return of_kind(overlay(name), "NetworkPolicy")


def workloads(name: str) -> list[Manifest]:
    """Return what has pods; a load test runs beside production."""
    beside = overlay("production") if name == "loadtest" else []
    return of_kind([*overlay(name), *beside], *WORKLOADS)


def ports_of(workload: Manifest) -> dict[str, int]:
    """Return the ports of its pods by name."""
    return {port["name"]: port["containerPort"] for one in containers(workload) for port in one.get("ports", [])}


def rules(policy: Manifest, direction: str, peers: str) -> Iterator[tuple[list[Manifest], list[Manifest]]]:
    """Yield the peers and the ports of each rule."""
    for rule in policy["spec"].get(direction, []):
        assert rule.get(peers), "a rule without peers is for everybody"
        assert rule.get("ports"), "a rule without ports is for all of them"
        yield rule[peers], rule["ports"]


def entries(name: str, workload: str) -> Iterator[tuple[Manifest, str]]:
    """Yield who may come in to which port of a workload's pods."""
    labels = labels_of(find(overlay(name), "Deployment", workload))
    for policy in policies(name):
        if selects(policy["spec"]["podSelector"], labels):
            for peers, ports in rules(policy, "ingress", "from"):
                yield from ((peer, port["port"]) for peer in peers for port in ports)


@pytest.mark.parametrize("name", ["production", "gpu"])
def test_what_no_policy_allows_is_closed(name: str) -> None:
    spec = find(overlay(name), "NetworkPolicy", "deny-all")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@closed
def test_policies_are_about_pods_that_are_there(name: str) -> None:
    everything = [labels_of(one) for one in workloads(name)]
    for policy in policies(name):
        assert any(selects(policy["spec"]["podSelector"], labels) for labels in everything), policy["metadata"]["name"]
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for peers, _ in rules(policy, direction, side):
                within = [peer for peer in peers if set(peer) == {"podSelector"}]
                assert all(any(selects(peer["podSelector"], labels) for labels in everything) for peer in within)


@closed
def test_ports_are_those_that_pods_have(name: str) -> None:
    for policy in policies(name):
        taken = [one for one in workloads(name) if selects(policy["spec"]["podSelector"], labels_of(one))]
        own = {port for one in taken for port in ports_of(one)}
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


def test_pixels_come_from_edges_alone() -> None:
    who = [peer for peer, port in entries("gpu", "xception-runner") if port == "frames"]
    assert who == [{"podSelector": {"matchLabels": labels_of_edges()}}]
    settings = find(overlay("gpu"), "ConfigMap", "xception-settings")["data"]
    runner = find(overlay("gpu"), "Deployment", "xception-runner")
    assert ports_of(runner)["frames"] == int(settings["RUNNER_PORT"])


def labels_of_edges() -> dict[str, str]:
    """Return what a policy knows edges by."""
    labels = {"app.kubernetes.io/name": "xception"}
    assert labels.items() <= labels_of(find(overlay("gpu"), "Deployment", "xception")).items()
    return labels


@pytest.mark.parametrize(
    ("name", "workload"), [("production", "xception"), ("gpu", "xception"), ("gpu", "xception-runner")]
)
def test_prometheus_reaches_what_it_scrapes(name: str, workload: str) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert (monitoring, "http") in list(entries(name, workload))


def test_edges_before_a_gpu_reach_the_runner_and_names_alone() -> None:
    policy = find(overlay("gpu"), "NetworkPolicy", "xception")
    reached = [peer for peers, _ in rules(policy, "egress", "to") for peer in peers]
    assert not any("ipBlock" in peer for peer in reached)


def allows(policy: Manifest, address: str) -> bool:
    """Return whether a policy lets pods connect to an address outside of the cluster."""
    asked = ip_address(address)
    return any(
        asked in ip_network(block["cidr"]) and not any(asked in ip_network(one) for one in block.get("except", []))
        for peers, _ in rules(policy, "egress", "to")
        for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer)
    )


@pytest.mark.parametrize(("name", "policy"), [("production", "xception"), ("gpu", "xception-runner")])
def test_the_store_is_reached_and_what_gives_out_the_rights_of_the_node_is_not(name: str, policy: str) -> None:
    found = find(overlay(name), "NetworkPolicy", policy)
    assert all(allows(found, address) for address in STORES)
    assert [address for address in METADATA if allows(found, address)] == []
