"""A private certificate authority and the public key of signed models: only containers that pull have them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from .exchanges import exchanged
from .manifests import Manifest, containers, find, of_kind, overlay, pod_of

TRUST = {
    "certificate-authority": ("SSL_CERT_FILE", "xception-authority", "ca.crt"),
    "signed-models": ("MODEL_PUBLIC_KEY", "xception-signer", "key.pub"),
}
"""By component: the environment variable, the ConfigMap, and the key of the file that the variable names."""


def trusted(workload: Manifest, component: str) -> list[str]:
    """Return the containers with the file of a component; check that their variable names the mounted file."""
    variable, name, key = TRUST[component]
    volumes = [one["name"] for one in pod_of(workload)["volumes"] if one.get("configMap", {}).get("name") == name]
    found: list[str] = []
    for container in containers(workload):
        paths = [one["value"] for one in container.get("env", []) if one["name"] == variable]
        mounts = [one for one in container["volumeMounts"] if one["name"] in volumes]
        assert [str(PurePosixPath(mount["mountPath"]) / key) for mount in mounts] == paths
        assert all(mount["readOnly"] for mount in mounts)
        found += [container["name"]] * len(paths)
    assert len(volumes) == bool(found)
    return found


@pytest.mark.parametrize(
    ("overlay_name", "deployment"), [("production", "xception"), ("gpu", "xception-runner")], ids=["production", "gpu"]
)
@pytest.mark.parametrize(
    ("more", "expected"),
    [((), ["pull", "server"]), (("no-init-container",), ["server"])],
    ids=["init-container", "none"],
)
def test_containers_that_pull_have_the_files(
    overlay_name: str, deployment: str, more: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    manifests = exchanged(overlay_name, tmp_path, *TRUST, *more)
    for component in TRUST:
        assert trusted(find(manifests, "Deployment", deployment), component) == expected
    others = [one for one in of_kind(manifests, "Deployment") if one["metadata"]["name"] != deployment]
    assert [name for one in others for component in TRUST for name in trusted(one, component)] == []


def test_without_the_components_no_container_has_the_files() -> None:
    for component in TRUST:
        assert trusted(find(overlay("production"), "Deployment", "xception"), component) == []
