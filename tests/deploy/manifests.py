"""The manifests that `kubectl kustomize` builds from deploy/, and functions to query them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.server import ROOT

DEPLOY = ROOT / "deploy"

OVERLAYS = ("local", "production", "gpu", "loadtest")

Manifest = dict[str, Any]

WORKLOADS = {"Deployment", "Job"}


@cache
def _find_kubectl() -> subprocess.CompletedProcess[str]:
    command, environment = [str(ROOT / "scripts" / "kubectl.sh")], {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def kubectl() -> str:
    """Return the path of a kubectl. If there is none, the test is skipped, unless CI is set."""
    done = _find_kubectl()
    if done.returncode != 0:
        message = f"scripts/kubectl.sh: {done.stderr.strip()[-300:]}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return done.stdout.strip()


def build(folder: Path) -> list[Manifest]:
    """Return the manifests of a folder. Fail if kustomize reports an error or a warning."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@cache
def overlay(name: str) -> list[Manifest]:
    """Return the manifests of `kubectl apply -k deploy/overlays/NAME`."""
    return build(DEPLOY / "overlays" / name)


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the manifest of a kind and name. The name of a ConfigMap is given without its hash."""
    pattern = rf"{name}(-[a-z0-9]{{10}})?" if kind == "ConfigMap" else name
    found = [one for one in manifests if one["kind"] == kind and re.fullmatch(pattern, one["metadata"]["name"])]
    assert len(found) == 1, f"{kind}/{name}: found {len(found)}"
    return found[0]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def pod_of(workload: Manifest) -> Manifest:
    """Return the pod specification of a Deployment or Job."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def labels_of(workload: Manifest) -> Mapping[str, str]:
    """Return the pod labels of a Deployment or Job."""
    labels: Mapping[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def containers(workload: Manifest) -> Iterator[Manifest]:
    """Yield all containers of a Deployment or Job, init containers included."""
    yield from pod_of(workload).get("initContainers", [])
    yield from pod_of(workload)["containers"]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a `matchLabels` selector matches these labels; an empty one matches all."""
    assert set(selector) <= {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items()
