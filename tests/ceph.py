"""A real S3 server for tests: Ceph's radosgw with one monitor and one in-memory object storage daemon.

All processes use loopback, free ports and one temporary folder, and end with the process that started them.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.server import free_port

PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")
"""Debian packages; they depend on `ceph-common`, which has the tools."""

COMMANDS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool")

START_TIMEOUT_S = 120.0
"""A start takes two seconds, but several times as long on a busy machine."""

_STARTS = 2

_PR_SET_PDEATHSIG = 1

_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {home}/keyring
run dir = {home}/run
admin socket = {home}/run/$name.$pid.asok
log file = {home}/log/$name.log
mon data = {home}/mon
osd data = {home}/osd
osd objectstore = memstore
memstore device bytes = 3221225472
memstore page set = false
# With a cache, gateways notify each other of changes, and wait half a minute for one that was killed.
rgw cache enabled = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
paxos propose interval = 0.05
paxos min wait = 0.01
# The monitor would exit if only a small share of the disk is free, although it writes only some megabytes.
mon data avail warn = -1
mon data avail crit = -1

[client.rgw]
rgw thread pool size = 64
rgw enable usage log = false
# Free the memory of deleted objects at once, not after hours.
rgw gc obj min wait = 1
rgw gc processor period = 2
rgw gc processor max time = 2
"""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "client.rgw": ("mon", "allow rw", "osd", "allow rwx"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
}


class CephError(Exception):
    """The server is not installed or did not start."""


@dataclass(frozen=True)
class User:
    """A user with credentials."""

    name: str
    access_key: str
    secret_key: str

    def environment(self, endpoint: str) -> dict[str, str]:
        """Return the variables with which an S3 client acts as this user."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }


class Ceph:
    """One S3 server. Use it as a context manager."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.owner = User("owner", "owner-access", secrets.token_hex(16))
        self._home = Path()
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for attempt in range(_STARTS):
            # Paths of Unix sockets are limited to about 100 characters, so do not use the folder of the test.
            self._home = Path(tempfile.mkdtemp(prefix="ceph-"))
            try:
                self._start()
            except BaseException as error:
                self.stop()
                # Another process may have taken a port after it was found free.
                if not isinstance(error, CephError) or attempt == _STARTS - 1:
                    raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the gateways first, then the other daemons, and remove the folder."""
        while self._running:
            _end(self._running.pop())
        shutil.rmtree(self._home, ignore_errors=True)

    @contextmanager
    def gateway(self) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        """Run another gateway to the same data; yield its endpoint and process."""
        port = free_port()
        process = self._spawn("radosgw", "-n", "client.rgw", "-f", _frontend(port), track=False)
        endpoint = f"http://127.0.0.1:{port}"
        try:
            self._wait("radosgw", process, lambda: _responds(endpoint))
            yield endpoint, process
        finally:
            _end(process)

    def add_user(self, name: str) -> User:
        """Create a user without permissions on existing buckets."""
        user = User(name, f"{name}-access", secrets.token_hex(16))
        self._add(user)
        return user

    def client(self, user: User | None = None) -> Any:
        """Return a boto3 client of a user, the owner by default."""
        boto3: Any = importlib.import_module("boto3")  # published without type information
        config: Any = importlib.import_module("botocore.config")
        user = user or self.owner
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=user.access_key,
            aws_secret_access_key=user.secret_key,
            region_name="us-east-1",
            config=config.Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def make_bucket(self) -> str:
        """Create a bucket of the owner and return its name."""
        name = f"models-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket of the owner with all objects and unfinished uploads; a full server would hang."""
        client = self.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            if found := [{"Key": entry["Key"]} for entry in page.get("Contents", [])]:
                client.delete_objects(Bucket=name, Delete={"Objects": found, "Quiet": True})
        for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
            client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        client.delete_bucket(Bucket=name)

    def allow(self, bucket: str, who: str, actions: list[str]) -> None:
        """Allow a user some actions in a bucket; `*` is everybody, even without credentials."""
        principal: Any = "*" if who == "*" else {"AWS": [f"arn:aws:iam:::user/{who}"]}
        rule = {
            "Effect": "Allow",
            "Principal": principal,
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [rule]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def _start(self) -> None:
        home = self._home
        for folder in ("mon", "osd", "run", "log"):
            (home / folder).mkdir()
        fsid = str(uuid.uuid4())
        v2, v1, port = free_port(), free_port(), free_port()
        (home / "ceph.conf").write_text(_CONFIGURATION.format(fsid=fsid, mon_v2=v2, mon_v1=v1, home=home))
        for name, caps in _KEYS.items():
            pairs = [word for kind, cap in zip(caps[::2], caps[1::2], strict=True) for word in ("--cap", kind, cap)]
            create = [] if (home / "keyring").exists() else ["--create-keyring"]
            self._run("ceph-authtool", str(home / "keyring"), *create, "--gen-key", "-n", name, *pairs)
        addresses = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
        monmap = str(home / "monmap")
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", addresses, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        monitor = self._spawn("ceph-mon", "-i", "a", "-f")
        self._wait("ceph-mon", monitor, lambda: self._try("ceph", "--connect-timeout", "5", "mon", "stat") is not None)
        osd_id = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd_id)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        osd = self._spawn("ceph-osd", "-i", "0", "-f")
        self._wait("ceph-osd", osd, lambda: "1 up" in (self._try("ceph", "osd", "stat") or ""))
        gateway = self._spawn("radosgw", "-n", "client.rgw", "-f", _frontend(port))
        self.endpoint = f"http://127.0.0.1:{port}"
        self._wait("radosgw", gateway, lambda: _responds(self.endpoint))
        self._add(self.owner)

    def _add(self, user: User) -> None:
        keys = (f"--access-key={user.access_key}", f"--secret-key={user.secret_key}")
        self._run("radosgw-admin", "user", "create", f"--uid={user.name}", f"--display-name={user.name}", *keys)

    def _command(self, *words: str) -> list[str]:
        if words[0] in {"ceph-authtool", "monmaptool"}:
            return list(words)
        return [words[0], "-c", str(self._home / "ceph.conf"), *words[1:]]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self._home / "ceph.conf")}

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            self._command(*words),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise CephError(f"{' '.join(words)}: ended with {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def _try(self, *words: str) -> str | None:
        try:
            return self._run(*words)
        except (CephError, subprocess.TimeoutExpired):
            return None

    def _spawn(self, *words: str, track: bool = True) -> subprocess.Popen[bytes]:
        with (self._home / "log" / f"{words[0]}.out").open("ab") as log:
            process = subprocess.Popen(
                self._command(*words), env=self._environment(), stdout=log, stderr=log, preexec_fn=_end_with_parent
            )
        if track:
            self._running.append(process)
        return process

    def _wait(self, what: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CephError(f"{what} did not start (exit status {process.returncode}):\n{self._log_ends()}")
            time.sleep(0.1)

    def _log_ends(self) -> str:
        """Return the end of every log."""
        logs = sorted((self._home / "log").iterdir())
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs)


def _frontend(port: int) -> str:
    """Return the listen option of a gateway; without tcp_nodelay each small response is delayed by 40 ms."""
    return f"--rgw_frontends=beast endpoint=127.0.0.1:{port} tcp_nodelay=1"


def _responds(endpoint: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(endpoint, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
