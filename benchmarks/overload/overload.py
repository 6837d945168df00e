"""What is left of a service that is asked far more than it can answer: `python -m benchmarks overload`.

Each round finds the peak (a closed loop), then asks half of that (calm), a multiple of it (the storm), and half of it
again, by a schedule and without a pause between; then the same with a part of the storm as bulk. Latency counts from
when a request was due. Unless they are kept apart (`--apart`) the load comes from the cores of the service: what it
takes, and what it could not send in time, is told. Needs a published model (`make model`); other work on the machine
spoils the figures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from benchmarks.load.closed_loop import Report
from benchmarks.load.open_loop import BULK, INTERACTIVE, OpenLoop, Plan
from benchmarks.measuring.interference import Watch
from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.sampler import Sampler, cores
from benchmarks.measuring.summary import spread
from benchmarks.servers.local_server import EDGE, LocalServer
from loadtest.load.images import SIZES, jpegs, predict_body

from .storm import Storm, answered_p99_ms, failed, lost, since_due_ms, since_sent_ms

_CALM_S = 5.0
"""How long the calm before a storm lasts."""

_SAMPLE_EVERY_S = 2.0
"""Looking at the memory of all processes takes 20 ms, which the service would miss."""

_FAILED = "xception_failed_requests_total"

ROWS: tuple[tuple[str, Callable[[Storm], float], str, str], ...] = (
    ("peak, images/s", lambda storm: storm.peak_images, ".1f", ""),
    (
        "asked in the storm, images/s",
        lambda storm: len(storm.due()) * storm.options.images / storm.span.seconds,
        ".0f",
        "",
    ),
    ("answered in time, images/s", lambda storm: storm.goodput(), ".1f", ""),
    ("share of the peak", lambda storm: storm.goodput() / storm.peak_images, ".2f", "≥ 0.95"),
    ("share of the peak on the cores that the load left", Storm.left_by_load, ".2f", ""),
    ("p99 of what was answered, ms", answered_p99_ms, ".0f", "the deadline"),
    ("answered after the deadline, or 504", lambda storm: storm.count(storm.late), ".0f", ""),
    ("refused, share", lambda storm: storm.share(lambda one: one.outcome == "refused"), ".2f", ""),
    ("a refusal from when it was sent, p50, ms", lambda storm: since_sent_ms(storm.refusals(), 0.5), ".1f", ""),
    ("the same, p99, ms", lambda storm: since_sent_ms(storm.refusals(), 0.99), ".1f", "< 20"),
    ("a refusal from when it was due, p50, ms", lambda storm: since_due_ms(storm.refusals(), 0.5), ".1f", ""),
    ("the same, p99, ms", lambda storm: since_due_ms(storm.refusals(), 0.99), ".1f", ""),
    (
        "refusals that say when to come back, share",
        lambda storm: sum(one.retry_after_s >= 1 for one in storm.refusals()) / max(1, len(storm.refusals())),
        ".2f",
        "1.00",
    ),
    ("failed", lambda storm: storm.count(failed), ".0f", "0"),
    ("lost", lambda storm: storm.count(lost), ".0f", "0"),
    ("not sent in time, share", lambda storm: 1 - len(storm.sent()) / len(storm.due()), ".3f", ""),
    ("memory of the edge at most, MiB", lambda storm: storm.memory_mib("edge"), ".0f", ""),
    ("memory of the runner at most, MiB", lambda storm: storm.memory_mib("runner"), ".0f", ""),
    ("p99 in the calm before, ms", lambda storm: 1000 * storm.calm_p99_s(), ".1f", ""),
    ("back to 1.5 times that after, s", Storm.recovery_s, ".1f", "≤ 1"),
    ("CPU of edge and runner for an image at the peak, ms", Storm.cpu_ms_at_peak, ".2f", ""),
    ("the same in the storm, with all refusals, ms", Storm.cpu_ms, ".2f", ""),
    ("cores taken by the load", Storm.load_cores, ".2f", ""),
    ("cores taken by the edge", lambda storm: cores(storm.samples, "edge", storm.span), ".2f", ""),
    ("cores taken by the runner", lambda storm: cores(storm.samples, "runner", storm.span), ".2f", ""),
)
"""What the first table tells: text, figure, its format, and the goal."""


def main(arguments: list[str]) -> int:
    """Measure, and print the tables in Markdown; return the exit status."""
    options = parse(arguments)
    os.environ["MODEL_NAME"] = options.model
    cores = leave_half() if options.apart else ()
    storms: dict[float, list[Storm]] = {share: [] for share in sorted({0.0, options.bulk})}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bodies = write_bodies(folder, options.images)
        settings = {"PRECISION": options.precision, "MODEL_CACHE_DIR": str(folder / "cache")}
        with LocalServer(folder / "server", EDGE, cores, **settings) as server:
            find_peak(server, bodies, options, settle_s=3.0)
            for _ in tqdm(range(options.rounds), desc="Rounds", leave=False):
                for share, seen in storms.items():
                    seen.append(make_storm(server, bodies, options, share))
    report(storms, options)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options; ends the process with one line where they are not right."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks overload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="xception", help="a published model (%(default)s)")
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16", "int8"), default="auto", help="of the engine (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often all is done (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="length of a storm, and the calm after (%(default)s)")
    parser.add_argument("--factor", type=float, default=4, help="how many times the peak is asked (%(default)s)")
    parser.add_argument("--deadline-ms", type=int, default=1000, help="deadline that requests name (%(default)s)")
    parser.add_argument("--images", type=int, default=1, help="in a request (%(default)s)")
    parser.add_argument("--clients", type=int, default=32, help="of the closed loop that finds the peak (%(default)s)")
    parser.add_argument("--peak-seconds", type=float, default=10, help="how long that runs (%(default)s)")
    parser.add_argument("--arrivals", choices=("poisson", "constant"), default="poisson", help="(%(default)s)")
    parser.add_argument("--bulk", type=float, default=0.3, help="share of bulk in the second storms; 0: none (0.3)")
    parser.add_argument(
        "--apart", action="store_true", help="half of the cores for the service, half for the load, as on two machines"
    )
    options = parser.parse_args(arguments)
    if min(options.rounds, options.images, options.clients, options.deadline_ms) < 1:
        parser.error("--rounds, --images, --clients, --deadline-ms: must be at least 1")
    if min(options.seconds, options.peak_seconds) < 1 or options.factor <= 0:
        parser.error("--seconds, --peak-seconds: must be at least 1; --factor: more than 0")
    if not 0 <= options.bulk < 1:
        parser.error("--bulk: must be from 0 to less than 1")
    return options


def leave_half() -> list[int]:
    """Keep this process, and what it starts from now on, to half of its cores; return the others.

    Raises:
        SystemExit: There is only one.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("--apart needs two cores at least")
    half = len(cores) // 2
    os.sched_setaffinity(0, cores[half:])
    return cores[:half]


def write_bodies(folder: Path, images: int) -> list[Path]:
    """Write a request for each picture, for the closed loop."""
    paths = []
    for first in range(len(jpegs(SIZES[1]))):
        paths.append(folder / f"{first}.json")
        paths[-1].write_bytes(predict_body(SIZES[1], images, first))
    return paths


def find_peak(server: LocalServer, bodies: list[Path], options: argparse.Namespace, settle_s: float = 0.5) -> Report:
    """Return what a closed loop gets."""
    command = [sys.executable, "-m", "benchmarks.load.closed_loop", server.predict, *map(str, bodies)]
    command += ["--clients", str(options.clients), "--seconds", str(options.peak_seconds), "--settle", str(settle_s)]
    command += ["--rows", str(options.images)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, start_new_session=True)
    return Report.from_json(done.stdout)


def make_storm(server: LocalServer, bodies: list[Path], options: argparse.Namespace, bulk: float) -> Storm:
    """Find the peak, and go on from there."""
    watch, cpu_s = Watch(), service_cpu_s(server)
    peak = find_peak(server, bodies, options)
    cpu_s = service_cpu_s(server) - cpu_s
    if not peak.latencies_ms:
        raise SystemExit(f"the service answers nothing: {dict(peak.statuses)}")
    calm = peak.rate / 2
    plan = Plan(
        server.url,
        options.model,
        ((_CALM_S, calm), (options.seconds, options.factor * peak.rate), (options.seconds, calm)),
        "pictures",
        options.arrivals,
        images=options.images,
        timeout_ms=options.deadline_ms,
        bulk=bulk,
    )
    before = reasons(server)
    with Sampler(server, _SAMPLE_EVERY_S) as sampler, OpenLoop(plan) as load:
        load.wait()
    return Storm(options, peak, cpu_s, load.seen, load.spans, sampler.samples, reasons(server) - before, watch.look())


def service_cpu_s(server: LocalServer) -> float:
    """Return the CPU time that edge and runner have taken since they were started."""
    found = server.processes()
    times = [process.cpu_times() for role in ("edge", "runner") for process in found[role]]
    return float(sum(one.user + one.system for one in times))


def reasons(server: LocalServer) -> Counter[str]:
    """Return why requests were refused or failed until now, by the metrics of the service."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found: Counter[str] = Counter()
    for line in lines:
        if line.startswith(_FAILED):
            name, _, value = line.rpartition(" ")
            found[name.split('"')[1]] = int(float(value))
    return found


def report(storms: dict[float, list[Storm]], options: argparse.Namespace) -> None:
    """Print the tables."""
    print(describe_machine())
    print(
        f"{options.model}, {options.precision}; {options.images} pictures of 500 × 375 a request; the storm: "
        f"{options.factor:g} × the peak for {options.seconds:g} s, {options.arrivals}, "
        f"deadline {options.deadline_ms} ms; the peak: {options.clients} clients for {options.peak_seconds:g} s; "
        f"{'service and load on cores of their own; ' if options.apart else ''}"
        f"medians (min–max) of {options.rounds} rounds"
    )
    shares = list(storms)
    heads = ["all interactive" if not share else f"{share:.0%} bulk" for share in shares]
    print(f"\n| | {' | '.join(heads)} | goal |\n|---|{'---|' * len(heads)}---|")
    for text, figure, form, goal in ROWS:
        cells = [spread([figure(one) for one in storms[share]], form) for share in shares]
        print(f"| {text} | {' | '.join(cells)} | {goal} |")
    for share in shares[1:]:
        report_priorities(storms[share])
    for share, head in zip(shares, heads, strict=True):
        total = sum((one.reasons for one in storms[share]), Counter[str]())
        told = ", ".join(f"{reason} {count}" for reason, count in total.most_common()) or "nothing"
        print(f"\nRefused or failed, {head}, by the service's own count: {told}")
    disturbed = [one.others.text for seen in storms.values() for one in seen if one.others.spoils]
    if disturbed:
        print(f"\nOthers were at work in {len(disturbed)} of {sum(map(len, storms.values()))} storms: {disturbed[0]}")


def report_priorities(storms: list[Storm]) -> None:
    """Print what became of either priority."""
    print("\n| | asked/s | answered in time/s | share answered in time | p99 ms | refused | deadline passed |")
    print("|---|---|---|---|---|---|---|")
    for name in (INTERACTIVE, BULK):
        rates = [len(one.due(name=name)) / one.span.seconds for one in storms]
        good = [one.goodput(name) / one.options.images for one in storms]
        shares = [one.share(one.in_time, name) for one in storms]
        most = [answered_p99_ms(one, name) for one in storms]
        refused = [one.share(lambda seen: seen.outcome == "refused", name) for one in storms]
        passed = [one.share(one.late, name) for one in storms]
        cells = (spread(rates, ".0f"), spread(good, ".1f"), spread(shares, ".3f"), spread(most, ".0f"))
        print(f"| {name} | {' | '.join(cells)} | {spread(refused, '.2f')} | {spread(passed, '.3f')} |")
