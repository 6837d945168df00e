"""What the comments of overlays offer, done as they say."""

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
"""What is written in `kustomization.yaml`, and what to write instead."""


def exchanged(overlay: str, folder: Path, *names: str) -> list[Manifest]:
    """Return what an overlay is after some of the exchanges.

    Args:
        overlay: One that offers them.
        folder: Where a copy of deploy/ is made and changed.
        names: Of the exchanges.
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
