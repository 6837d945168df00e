"""What `kubectl kustomize` makes of the folders of deploy/, and how to look into it."""

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
def _located() -> subprocess.CompletedProcess[str]:
    command, environment = [str(ROOT / "scripts" / "kubectl.sh")], {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def kubectl() -> str:
    """Return the path of a kubectl. Where none is to be had, tests of it are skipped, but in CI it must be there."""
    done = _located()
    if done.returncode != 0:
        said = f"scripts/kubectl.sh: {done.stderr.strip()[-300:]}"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    return done.stdout.strip()


def build(folder: Path) -> list[Manifest]:
    """Return what a folder stands for; fails where it cannot be built, or warns."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@cache
def overlay(name: str) -> list[Manifest]:
    """Return what `kubectl apply -k deploy/overlays/NAME` would apply."""
    return build(DEPLOY / "overlays" / name)


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one manifest of a kind and a name; of a ConfigMap the hash at its end is left out."""
    pattern = rf"{name}(-[a-z0-9]{{10}})?" if kind == "ConfigMap" else name
    found = [one for one in manifests if one["kind"] == kind and re.fullmatch(pattern, one["metadata"]["name"])]
    assert len(found) == 1, f"{kind}/{name}: {len(found)} of them"
    return found[0]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return those of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def pod_of(workload: Manifest) -> Manifest:
    """Return the specification of the pods of a Deployment or Job."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def labels_of(workload: Manifest) -> Mapping[str, str]:
    """Return the labels of its pods."""
    labels: Mapping[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def containers(workload: Manifest) -> Iterator[Manifest]:
    """Yield all containers of the pods, those that run first too."""
    yield from pod_of(workload).get("initContainers", [])
    yield from pod_of(workload)["containers"]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a selector of `matchLabels` takes these labels; an empty one takes all."""
    assert set(selector) <= {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items()
