"""Compare a pull with one plain download of the same bytes: `python -m benchmarks pull`.

Starts a real S3 server, publishes a version of 90 MB to it and beside it one object of as many bytes, and takes
turns: the object in one stream to a file, the same with hashing and flushing to the disk, and the version into an
empty cache, which always hashes and flushes. First directly, then over a line that gives each connection 30 MB/s
and takes 20 ms. Other work on the machine spoils the figures.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from benchmarks.options import ABOVE_ZERO, POSITIVE, benchmark, rounds_option
from benchmarks.servers.s3_server import s3_server
from model_store.catalog.fetch import fetch_version
from model_store.catalog.reference import Resolved, resolve
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import pull
from model_store.trust.manifest import MANIFEST_NAME, Golden, InputContract, Manifest, ManifestFile, Variant

MIB = 2**20

MODEL = "loadtest-pull"
"""Published, and removed again afterwards."""

SMALL_FILES = 12
"""A version has about a dozen small files beside the large one."""

Way = Callable[[Remote, Resolved, Path], None]


def plain(remote: Remote, resolved: Resolved, folder: Path) -> None:
    """Write the object as it arrives."""
    del resolved
    with folder.open("wb", buffering=0) as file:
        for block in remote.stream(f"{MODEL}/plain"):
            file.write(block)


def careful(remote: Remote, resolved: Resolved, folder: Path) -> None:
    """Do the same, and hash and flush it."""
    del resolved
    digest = hashlib.sha256()
    with folder.open("wb", buffering=0) as file:
        for block in remote.stream(f"{MODEL}/plain"):
            digest.update(block)
            file.write(block)
        os.fsync(file.fileno())


def pulled(remote: Remote, resolved: Resolved, folder: Path) -> None:
    """Pull into an empty cache."""
    pull(remote, resolved, Cache(folder))


WAYS: dict[str, Way] = {"plain": plain, "plain, hashed and flushed": careful, "pull": pulled}


@benchmark(__doc__)
@rounds_option(9)
@click.option("--megabytes", type=POSITIVE, default=90, help="Size of the version.")
@click.option(
    "--store",
    metavar="URL",
    help="An s3:// store to use instead, with endpoint and credentials in the AWS_ variables; "
    f"model '{MODEL}' is made in it and removed again.",
)
@click.option("--rate", type=ABOVE_ZERO, default=30.0, help="MB/s of a connection of the slow line.")
@click.option("--latency-ms", type=click.FloatRange(min=0), default=20.0, help="Latency of the slow line.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write.  [default: where temporary files go]")
def main(rounds: int, megabytes: int, store: str | None, rate: float, latency_ms: float, folder: Path | None) -> int:
    """Measure and print; return the exit status."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="pull-")))
        url = store or stack.enter_context(s3_server())
        stack.enter_context(_published(url, scratch, megabytes * 1_000_000))
        _measure("directly", url, scratch, rounds)
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        if urlsplit(endpoint).hostname not in {"127.0.0.1", "localhost"}:
            print("no slow line: the endpoint of the store is not on this machine")
            return 0
        with _slow_line(endpoint, rate, latency_ms) as os.environ["AWS_ENDPOINT_URL"]:
            title = f"over a line of {rate:g} MB/s a connection and {latency_ms:g} ms"
            _measure(title, url, scratch, rounds)
        os.environ["AWS_ENDPOINT_URL"] = endpoint
    return 0


def _measure(title: str, url: str, scratch: Path, rounds: int) -> None:
    """Take turns, and print the median, the spread and the ratio of the times."""
    remote = Remote.open(url)
    resolved = resolve(remote, MODEL, 1)
    size = sum(file.size for file in fetch_version(remote, resolved).manifest.files)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds + 1):
        for name, way in WAYS.items():
            target = scratch / "turn"
            start = time.perf_counter()
            way(remote, resolved, target)
            taken = time.perf_counter() - start
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            if turn:  # the first warms the caches
                seconds[name].append(taken)
    print(f"\n{title}: {size / MIB:.0f} MiB, {rounds} rounds in turn, {os.cpu_count()} CPUs")
    print(f"{'':28}{'median':>9}{'fastest':>9}{'slowest':>9}{'MiB/s':>8}{'of plain':>10}")
    base = statistics.median(seconds["plain"])
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f"{min(times):8.3f}s{max(times):8.3f}s"
        print(f"{name:28}{median:8.3f}s{spread}{size / MIB / median:8.0f}{median / base:9.2f}×", flush=True)


@contextmanager
def _published(url: str, scratch: Path, size: int) -> Iterator[None]:
    """Keep a version of about `size` bytes in a store, and one object of the same size."""
    remote = Remote.open(url, publishing=True)
    if found := remote.list_all(MODEL):
        raise SystemExit(f"{url} holds {found[0][0]} already; remove it, or name another store")
    folder = _version(scratch / "version", size)
    try:
        publish(folder, remote, MODEL)
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        remote.upload(f"{MODEL}/plain", (os.urandom(MIB) for _ in range(total // MIB)), total)
        yield
    finally:
        remote.delete([path for path, _, _ in remote.list_all(MODEL)])


def _version(folder: Path, size: int) -> Path:
    """Write a version of random bytes that nothing could serve."""
    files = {f"variables/{number}": os.urandom(50_000) for number in range(SMALL_FILES)}
    files |= {"saved_model.pb": os.urandom(size), "golden/pixels.npy": b"pixels", "golden/scores.npy": b"scores"}
    manifest = Manifest(
        created=datetime.now(UTC),
        architecture="none",
        input=InputContract(height=71, width=71),
        classes=("a", "b"),
        signatures={},
        files=tuple(
            ManifestFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        ),
        variants=(Variant(engine="tensorflow", precision="fp32", path=".", files=tuple(files)),),
        golden=Golden(images=(), pixels="golden/pixels.npy", scores="golden/scores.npy"),
    )
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    return folder


@contextmanager
def _slow_line(endpoint: str, rate: float, latency_ms: float) -> Iterator[str]:
    """Run a slow line to an endpoint in a process of its own, and yield the endpoint at its near end."""
    command = [sys.executable, "-m", "tests.slow_link", str(urlsplit(endpoint).port)]
    limits = ["--rate", str(rate * 1e6), "--latency-ms", str(latency_ms)]
    with subprocess.Popen([*command, *limits], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().strip() if process.stdout else ""
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
