"""An authority of one's own and a key that signs models: whatever pulls has both, and nothing else has."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from .exchanges import exchanged
from .manifests import Manifest, containers, find, of_kind, overlay, pod_of

TRUST = {
    "certificate-authority": ("SSL_CERT_FILE", "xception-authority", "ca.crt"),
    "signed-models": ("MODEL_PUBLIC_KEY", "xception-signer", "key.pub"),
}
"""By component: the variable, and the ConfigMap and the key in it with the file that it names."""


def trusted(workload: Manifest, component: str) -> list[str]:
    """Return which containers find the file of a component where their environment says; each must, or know nothing."""
    variable, name, key = TRUST[component]
    volumes = [one["name"] for one in pod_of(workload)["volumes"] if one.get("configMap", {}).get("name") == name]
    found: list[str] = []
    for container in containers(workload):
        said = [one["value"] for one in container.get("env", []) if one["name"] == variable]
        mounts = [one for one in container["volumeMounts"] if one["name"] in volumes]
        assert [str(PurePosixPath(mount["mountPath"]) / key) for mount in mounts] == said
        assert all(mount["readOnly"] for mount in mounts)
        found += [container["name"]] * len(said)
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
def test_what_pulls_has_the_files(
    overlay_name: str, deployment: str, more: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    manifests = exchanged(overlay_name, tmp_path, *TRUST, *more)
    for component in TRUST:
        assert trusted(find(manifests, "Deployment", deployment), component) == expected
    others = [one for one in of_kind(manifests, "Deployment") if one["metadata"]["name"] != deployment]
    assert [name for one in others for component in TRUST for name in trusted(one, component)] == []


def test_nothing_is_trusted_that_was_not_asked_for() -> None:
    for component in TRUST:
        assert trusted(find(overlay("production"), "Deployment", "xception"), component) == []
