"""Send a service far more than it can serve: `python -m benchmarks overload`.

Each round finds the peak (a closed loop), then sends half of that (calm), a multiple of it (the storm), and half of it
again, by a schedule and without a pause between; then the same with a part of the storm as bulk. Latency counts from
when a request was due. Unless they are kept apart (`--apart`) the load comes from the cores of the service: the tables
show the CPU time that it took, and the requests that it could not send in time. Needs a published model (`make model`);
other work on the machine spoils the figures.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.load.closed_loop import Report, closed_loop, write_bodies
from benchmarks.load.open_loop import BULK, INTERACTIVE, OpenLoop, Plan
from benchmarks.measuring.interference import InterferenceMonitor
from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.summary import spread
from benchmarks.options import (
    ABOVE_ZERO,
    POSITIVE,
    SHARE,
    benchmark,
    model_option,
    precision_option,
    rounds_option,
)
from benchmarks.servers.sampler import Sampler, cores
from benchmarks.servers.server_process import EDGE, BentoMLServer, request

from .storm import Options, Storm, answered_p99_ms, failed, lost, since_due_ms, since_sent_ms

_AT_LEAST_1 = click.FloatRange(min=1)

_CALM_S = 5.0
"""Length of the calm before a storm."""

_SAMPLE_EVERY_S = 2.0
"""A sample of the memory of all processes takes 20 ms of CPU from the service."""

_FAILED = "xception_failed_requests_total"

ROWS: tuple[tuple[str, Callable[[Storm], float], str, str], ...] = (
    ("peak, images/s", lambda storm: storm.peak_images, ".1f", ""),
    (
        "sent in the storm, images/s",
        lambda storm: len(storm.due()) * storm.options.images / storm.span.seconds,
        ".0f",
        "",
    ),
    ("answered in time, images/s", lambda storm: storm.goodput(), ".1f", ""),
    ("share of the peak", lambda storm: storm.goodput() / storm.peak_images, ".2f", "≥ 0.95"),
    ("share of the peak on the cores that the load left", Storm.left_by_load, ".2f", ""),
    ("p99 of good responses, ms", answered_p99_ms, ".0f", "the deadline"),
    ("after the deadline, or 504", lambda storm: storm.count(storm.late), ".0f", ""),
    ("rejected, share", lambda storm: storm.share(lambda one: one.outcome == "refused"), ".2f", ""),
    ("a rejection from when it was sent, p50, ms", lambda storm: since_sent_ms(storm.refusals(), 0.5), ".1f", ""),
    ("the same, p99, ms", lambda storm: since_sent_ms(storm.refusals(), 0.99), ".1f", "< 20"),
    ("a rejection from when it was due, p50, ms", lambda storm: since_due_ms(storm.refusals(), 0.5), ".1f", ""),
    ("the same, p99, ms", lambda storm: since_due_ms(storm.refusals(), 0.99), ".1f", ""),
    (
        "rejections with Retry-After, share",
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
    ("the same in the storm, with all rejections, ms", Storm.cpu_ms, ".2f", ""),
    ("cores taken by the load", Storm.load_cores, ".2f", ""),
    ("cores taken by the edge", lambda storm: cores(storm.samples, "edge", storm.span), ".2f", ""),
    ("cores taken by the runner", lambda storm: cores(storm.samples, "runner", storm.span), ".2f", ""),
)
"""Rows of the first table: text, figure, its format, and the goal."""


@benchmark(__doc__)
@model_option
@precision_option
@rounds_option(3)
@click.option("--seconds", type=_AT_LEAST_1, default=10.0, help="Length of a storm, and of the calm after it.")
@click.option("--factor", type=ABOVE_ZERO, default=4.0, help="Multiple of the peak that the storm sends.")
@click.option("--deadline-ms", type=POSITIVE, default=1000, help="Deadline of the requests.")
@click.option("--images", type=POSITIVE, default=1, help="In a request.")
@click.option("--clients", type=POSITIVE, default=32, help="Of the closed loop that finds the peak.")
@click.option("--peak-seconds", type=_AT_LEAST_1, default=10.0, help="Length of that loop.")
@click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson")
@click.option("--bulk", type=SHARE, default=0.3, help="Share of bulk requests in the second storms; 0: no such storms.")
@click.option("--apart", is_flag=True, help="Half of the cores for the service, half for the load, as on two machines.")
def main(**values: Any) -> int:
    """Measure, and print the tables in Markdown; return the exit status."""
    options = Options(**values)
    cores = leave_half() if options.apart else ()
    storms: dict[float, list[Storm]] = {share: [] for share in sorted({0.0, options.bulk})}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bodies = write_bodies(folder, options.images)
        settings = {
            "MODEL_NAME": options.model,
            "PRECISION": options.precision,
            "MODEL_CACHE_DIR": str(folder / "cache"),
        }
        with BentoMLServer(folder / "server", EDGE, cores, **settings) as server:
            find_peak(server, bodies, options, settle_s=3.0)
            for _ in tqdm(range(options.rounds), desc="Rounds", leave=False):
                for share, seen in storms.items():
                    seen.append(make_storm(server, bodies, options, share))
    report(storms, options)
    return 0


def leave_half() -> list[int]:
    """Restrict this process and its future children to half of its cores; return the others.

    Raises:
        SystemExit: There is only one.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("--apart needs two cores at least")
    half = len(cores) // 2
    os.sched_setaffinity(0, cores[half:])
    return cores[:half]


def find_peak(server: BentoMLServer, bodies: list[Path], options: Options, settle_s: float = 0.5) -> Report:
    """Return the report of a closed loop."""
    return closed_loop(
        server.predict_url,
        bodies,
        options.clients,
        options.peak_seconds,
        settle_s=settle_s,
        rows=options.images,
    )


def make_storm(server: BentoMLServer, bodies: list[Path], options: Options, bulk: float) -> Storm:
    """Find the peak, and go on from there."""
    monitor, cpu_s = InterferenceMonitor(), service_cpu_s(server)
    peak = find_peak(server, bodies, options)
    cpu_s = service_cpu_s(server) - cpu_s
    if not peak.latencies_ms:
        raise SystemExit(f"the service returns no predictions: {dict(peak.statuses)}")
    calm = peak.rate / 2
    plan = Plan(
        server.url,
        options.model,
        ((_CALM_S, calm), (options.seconds, options.factor * peak.rate), (options.seconds, calm)),
        "images",
        options.arrivals,
        images=options.images,
        timeout_ms=options.deadline_ms,
        bulk=bulk,
    )
    before = reasons(server)
    with Sampler(server, _SAMPLE_EVERY_S) as sampler, OpenLoop(plan) as load:
        load.wait()
    return Storm(
        options, peak, cpu_s, load.results, load.spans, sampler.samples, reasons(server) - before, monitor.read()
    )


def service_cpu_s(server: BentoMLServer) -> float:
    """Return the CPU time that edge and runner have taken since they were started."""
    spent = server.cpu_s()
    return spent["edge"] + spent["runner"]


def reasons(server: BentoMLServer) -> Counter[str]:
    """Return the rejected and failed requests by reason, from the metrics of the service."""
    with request(f"{server.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    found: Counter[str] = Counter()
    for line in lines:
        if line.startswith(_FAILED):
            name, _, value = line.rpartition(" ")
            found[name.split('"')[1]] = int(float(value))
    return found


def report(storms: dict[float, list[Storm]], options: Options) -> None:
    """Print the tables."""
    print(describe_machine())
    print(
        f"{options.model}, {options.precision}; {options.images} images of 500 × 375 a request; the storm: "
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
        print(f"\nRejected or failed, {head}, by the service's own count: {told}")
    disturbed = [one.interference.text for seen in storms.values() for one in seen if one.interference.spoils]
    if disturbed:
        print(f"\nInterference in {len(disturbed)} of {sum(map(len, storms.values()))} storms: {disturbed[0]}")


def report_priorities(storms: list[Storm]) -> None:
    """Print the results of each priority."""
    print("\n| | sent/s | in time/s | share in time | p99 ms | rejected | deadline passed |")
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
