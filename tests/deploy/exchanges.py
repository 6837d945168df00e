"""Overlays with the alternatives that their comments describe."""

from __future__ import annotations

import shutil
from pathlib import Path

from .manifests import DEPLOY, Manifest, build

EXCHANGES = {
    "keda": ("../../components/hpa #", "../../components/keda #"),
    "annotations": ("../../monitoring #", "../../monitoring/annotations #"),
    "workload-identity": ("# - ../../components/workload-identity", "- ../../components/workload-identity"),
    "api-keys": ("# - ../../components/api-keys", "- ../../components/api-keys"),
    "certificate-authority": ("# - ../../components/certificate-authority", "- ../../components/certificate-authority"),
    "signed-models": ("# - ../../components/signed-models", "- ../../components/signed-models"),
    "no-init-container": ("  - ../../components/pull", "  # - ../../components/pull"),
}
"""Alternatives by name: a text of `kustomization.yaml`, and its replacement."""


def exchanged(overlay: str, folder: Path, *names: str) -> list[Manifest]:
    """Return the manifests of an overlay with some alternatives applied.

    Args:
        overlay: The name of the overlay.
        folder: A folder for a changed copy of deploy/.
        names: The names of the alternatives.
    """
    copy = shutil.copytree(DEPLOY, folder / "deploy")
    file = copy / "overlays" / overlay / "kustomization.yaml"
    text = file.read_text()
    for name in names:
        before, after = EXCHANGES[name]
        assert text.count(before) == 1, f"{file} no longer offers {name}"
        text = text.replace(before, after)
    file.write_text(text)
    return build(file.parent)
