"""Move a label between versions, and have a service follow it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.servers.server_process import request
from model_store.catalog.history import roll_back
from model_store.catalog.labels import LabelTarget, set_label
from model_store.store.remote import Remote
from model_store.transfer.publish import publish

from .versions import Flaw, derive_version

MODEL = "xception"
TOKEN = "token-of-the-swap-test"
"""Authorizes reloads of the services that benchmarks start."""

SETTINGS = {"MODEL_NAME": MODEL, "ADMIN_TOKEN": TOKEN, "MODEL_POLL_S": "0"}
"""Of a service that follows its label only when `reload` asks it to."""


class Swapper:
    """Publish derived versions and move the label `stable` between them."""

    def __init__(self, store: str, package: Path, folder: Path) -> None:
        self._remote = Remote.open(store, publishing=True)
        self._package = package
        self._folder = folder
        self.targets: dict[int, LabelTarget] = {}
        self.shifts: dict[int, int] = {}
        """By how many places each version shifts the classes."""

    def publish(self, shift: int, flaw: Flaw | None = None, label: bool = False) -> int:
        """Publish a version and return its number."""
        folder = derive_version(self._package, self._folder / f"{shift}-{flaw}", shift, flaw)
        done = publish(folder, self._remote, MODEL, labels=["stable"] if label else [])
        self.targets[done.version] = LabelTarget(version=done.version, manifest=done.digest)
        self.shifts[done.version] = shift
        return done.version

    def label(self, version: int) -> None:
        """Point `stable` to a version."""
        set_label(self._remote, MODEL, "stable", self.targets[version])

    def rollback(self) -> None:
        """Point `stable` to its previous version."""
        roll_back(self._remote, MODEL, "stable")


def reload(model_url: str, timeout_s: float = 300.0) -> tuple[int, str]:
    """Have a service follow its labels now; return status and body of the response once it has."""
    posted = urllib.request.Request(f"{model_url}/reload", headers={"Authorization": f"Bearer {TOKEN}"}, method="POST")
    try:
        with request(posted, timeout=timeout_s) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def loaded_versions(model_url: str) -> int:
    """Return how many versions a service has in memory, including those that are being unloaded."""
    with request(model_url, timeout=60) as response:
        statuses = json.load(response)["model_version_status"]
    return sum(status["state"] not in ("END", "START") for status in statuses)
