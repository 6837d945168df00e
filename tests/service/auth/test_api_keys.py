"""API keys: who they belong to, what their owners may have, and how the file may change."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.auth import api_keys as callers
from service.auth.api_keys import ApiClient, ApiKeyStore
from service.core.deadline import Deadline, Priority
from service.core.errors import AccessDeniedError, OverloadedError
from service.core.key_file import KeyEntry, read_keys
from service.edge.admission import Admission

SHOP, FREE = "a-key-of-the-shop", "a-key-of-somebody"


def entry(name: str, key: str, **fields: object) -> dict[str, object]:
    return {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), **fields}


def write(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text(json.dumps({"keys": entries}))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "keys.json", entry("shop", SHOP), entry("free", FREE, priority="bulk", images_per_second=2))


def test_a_key_leads_to_its_owner(file: Path) -> None:
    known = ApiKeyStore(file, 1)
    assert known.identify(f"Bearer {SHOP}").name == "shop"
    assert known.identify(f"bearer  {FREE} ").priority == Priority.BULK


@pytest.mark.parametrize(
    "header", ["", SHOP, "Bearer", "Bearer wrong", f"Basic {SHOP}", "Bearer \xff", f"Bearer {SHOP}x"]
)
def test_anything_else_is_refused(file: Path, header: str) -> None:
    with pytest.raises(AccessDeniedError, match="send a valid API key") as refused:
        ApiKeyStore(file, 1).identify(header)
    assert SHOP not in str(refused.value)


def test_a_changed_file_counts_and_a_broken_one_does_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_CHECK_INTERVAL_S", 0.0)
    known = ApiKeyStore(file, 1)
    before = known.identify(f"Bearer {SHOP}")
    write(file, entry("shop", SHOP), entry("new", "another"))
    assert known.identify("Bearer another").name == "new"
    assert known.identify(f"Bearer {SHOP}") is before  # With what it has left.
    with pytest.raises(AccessDeniedError):
        known.identify(f"Bearer {FREE}")
    for broken in ("", "[]", '{"keys": [{"name": "x"}]}'):
        file.write_text(broken)
        assert known.identify("Bearer another").name == "new"
    file.unlink()
    assert known.identify("Bearer another").name == "new"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "the file: Invalid JSON"),
        ('{"shop": "in the clear"}', "keys: Field required"),
        ('{"keys": [{"name": "shop", "key": "in the clear"}]}', "keys.0.sha256: Field required"),
        ('{"keys": [{"name": "x", "sha256": "12"}]}', "keys.0.sha256: "),
        ('{"keys": [{"name": "a b", "sha256": "' + "0" * 64 + '"}]}', "keys.0.name: "),
        ('{"keys": [{"name": "a", "sha256": "' + "0" * 64 + '", "rate": 3}]}', "keys.0.rate: "),
        ('{"keys": [{"name": "a", "sha256": "' + "0" * 64 + '", "images_per_second": 0}]}', "images_per_second: "),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=part):
        read_keys(path)
    with pytest.raises(ValueError, match=f"{tmp_path}: "):
        read_keys(tmp_path)


def test_a_rate_is_kept_on_average_and_large_requests_are_paid_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.auth.api_keys.time.monotonic", lambda: now)
    caller = ApiClient(KeyEntry(name="free", sha256="0" * 64, images_per_second=10), 1.0)
    caller.require_quota()
    caller.charge(30)  # More than a second's worth, taken whole.
    with pytest.raises(OverloadedError, match="free is over its rate of 10 images per second") as refused:
        caller.require_quota()
    assert (refused.value.retry_after_s, refused.value.reason) == (2, "rate")
    now += 1.9
    with pytest.raises(OverloadedError):
        caller.require_quota()
    now += 0.2
    caller.require_quota()
    now += 3600
    caller.require_quota()
    caller.charge(11)  # An hour's silence is worth no more than a second.
    with pytest.raises(OverloadedError):
        caller.require_quota()


def test_processes_share_a_rate() -> None:
    caller = ApiClient(KeyEntry(name="free", sha256="0" * 64, images_per_second=10), 0.5)
    caller.charge(6)
    with pytest.raises(OverloadedError):
        caller.require_quota()


def test_a_permit_counts_each_image_once_and_keeps_to_the_priority_of_the_key() -> None:
    caller = ApiClient(KeyEntry(name="free", sha256="0" * 64, images_per_second=10, priority="bulk"), 1.0)
    admission = Admission(9, 100)
    with admission.admit(Deadline(1), client=caller) as permit:
        assert permit.priority == Priority.BULK
        permit.count_images(4)
        permit.override(None, Priority.INTERACTIVE)
        assert permit.priority == Priority.BULK
        permit.count_images(4)
    caller.charge(5)
    caller.require_quota()
    caller.charge(2)
    with pytest.raises(OverloadedError), admission.admit(Deadline(1), client=caller):
        pass
    assert admission.requests == 0


def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.auth.__main__", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_makes_lists_and_removes_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = keys("add", "shop", "--file", str(file), "--rate", "5", "--priority", "bulk")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert len(key) >= 40
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert ApiKeyStore(file, 1).identify(f"Bearer {key}").entry.images_per_second == 5
    assert keys("add", "shop", "--file", str(file)).stdout.strip() != key
    listed = keys("list", "--file", str(file)).stdout.splitlines()
    assert [line.split("\t")[:3] for line in listed] == [
        ["shop", "bulk", "5 images/s"],
        ["shop", "interactive", "no limit"],
    ]
    first = hashlib.sha256(key.encode()).hexdigest()
    assert keys("remove", "shop", "--sha256", first[:12], "--file", str(file)).returncode == 0
    assert len(read_keys(file).keys) == 1
    assert keys("remove", "nobody", "--file", str(file)).returncode == 2
    bad = keys("add", "a b", "--file", str(file))
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("error: name: ")


def test_keys_that_are_made_at_once_are_all_kept_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    (tmp_path / "keys.json.partial").write_text("{")  # Of a command that was killed; others may read it.
    command = [sys.executable, "-m", "service.auth.__main__", "add", "shop", "--file", str(file)]
    made = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    keys = [process.communicate(timeout=60)[0].strip() for process in made]
    assert {ApiKeyStore(file, 1).identify(f"Bearer {key}").name for key in keys} == {"shop"}
    assert len(read_keys(file).keys) == 6
    assert [path for path in tmp_path.iterdir() if path.stat().st_mode & 0o077] == []
    assert not (tmp_path / "keys.json.partial").exists()
