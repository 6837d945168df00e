"""How replicas follow a step of load: `python -m loadtest autoscaling`. Worked out: there is no cluster here.

A fluid model of pods that share what is asked, each with a queue before an engine of known speed; of Prometheus, which
looks every so often; and of the HorizontalPodAutoscaler with its own formula, tolerance, stabilisation and policies, as
deploy/components/hpa sets them. What a pod does and how long it takes to start was measured (docs/performance.md,
docs/containers.md); how fast images come to a node is an assumption. docs/autoscaling.md draws the conclusions.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

STEP_S = 0.25
SCRAPE_S, SYNC_S, WINDOW_S = 15.0, 15.0, 60.0
"""Prometheus looks, the autoscaler looks, and what the rate in `pod:xception_load:rate1m` is taken over."""

TOLERANCE = 0.1
MIN_REPLICAS, MAX_REPLICAS = 2, 20
POLICY_UP_S, POLICY_DOWN_S = 30.0, 60.0
STABILISATION_S = 300.0

QUEUE_IMAGES, LATEST_S = 256, 0.8 * 30.0
"""QUEUE_MAX_IMAGES, and the share of REQUEST_TIMEOUT_MS beyond which the service refuses."""

TARGETS = {"load": 0.7, "backlog": 0.25}
"""As in hpa.yaml: share of what an engine can do, and seconds of work that wait, by pod."""


@dataclass(frozen=True)
class Measured:
    """What a pod of two cores was seen to do with a model, in int8."""

    speed: float
    """Images a second at 32 clients."""
    start_s: float
    """Seconds from the start of a container with an empty volume, beside its store, until it is ready: the process, the
    model, and learning what batches cost."""


MODELS = {
    "71 × 71": Measured(speed=356.0, start_s=4.9),
    # The process with the model in its cache, and the most that learning may take: no container of it was started.
    "299 × 299": Measured(speed=35.0, start_s=3.9 + 3.0),
}

ASSUMED_S = 1.0 + 2.0
"""Until a node has the pod, and the period of the readiness probe."""

STARTS = {
    "pulled (21 MiB)": 21.0,
    "pulled whole by an init container (261 MiB)": 261.0,
    "that, and the image of 520 MB is not on the node": 261.0 + 496.0,
}
"""MiB that come over the network before a pod can start."""

HEADS = ("a new pod", "ready after", "enough", "calm", "longest wait", "refused", "most pods", "turns")
"""Of the tables, as docs/autoscaling.md explains them."""


@dataclass(eq=False)
class Pod:
    """One replica."""

    ready_at: float
    queue: float = 0.0
    """Images that wait."""
    seen_queue: float = 0.0
    """As it was at the last scrape."""
    served: list[float] = field(default_factory=lambda: [0.0])
    """Images of each interval between two scrapes, the last one in the making."""

    def metric(self, name: str, speed: float) -> float | None:
        """Return what Prometheus knows of it, None while that is too little for a rate."""
        if name == "backlog":
            return self.seen_queue / speed if self.served[:-1] else None
        whole = self.served[:-2][-int(WINDOW_S / SCRAPE_S) :]  # The rule is evaluated between two scrapes.
        return sum(whole) / len(whole) / SCRAPE_S / speed if whole else None


def desired(current: int, values: Sequence[float | None], target: float) -> int:
    """Return how many replicas the HorizontalPodAutoscaler wants for one metric of the pods.

    Args:
        current: Replicas that there are to be now.
        values: Of each pod; None where there is none yet: then it counts as 0 when it is about more replicas, and as
            just right when it is about fewer.
        target: The mean to reach.
    """
    if not (known := [value for value in values if value is not None]):
        return current
    ratio, missing = sum(known) / len(known) / target, len(values) - len(known)
    if missing:
        filled = sum(known) + (0.0 if ratio > 1 else target * missing)
        before, ratio = ratio, filled / len(values) / target
        if (before > 1) != (ratio > 1):
            return current
    return current if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * len(values) - 1e-9)


class Autoscaler:
    """What stands between wanting and having: the most of the metrics, limits, policies and stabilisation."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = targets
        self._wanted: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []

    def replicas(self, now: float, pods: Sequence[Pod], speed: float) -> int:
        """Return the number of replicas from now on."""
        current = len(pods)
        each = (desired(current, [pod.metric(name, speed) for pod in pods], TARGETS[name]) for name in self._targets)
        wanted = min(max(MIN_REPLICAS, *each), MAX_REPLICAS)
        self._wanted.append((now, wanted))
        if wanted > current:
            start = current - self._changed(now, POLICY_UP_S, 1)
            chosen = min(wanted, max(2 * start, start + 2, current))
        else:
            start = current - self._changed(now, POLICY_DOWN_S, -1)
            lasting = max(number for at, number in self._wanted if at > now - STABILISATION_S)
            chosen = max(min(lasting, current), min(current, math.floor(0.8 * start)))
        if chosen != current:
            self._changes.append((now, chosen - current))
        return chosen

    @property
    def turns(self) -> int:
        """Return how often it changed its mind: more after fewer, or fewer after more."""
        signs = [change > 0 for _, change in self._changes]
        return sum(one != other for one, other in pairwise(signs))

    def _changed(self, now: float, within_s: float, sign: int) -> int:
        return sum(change for at, change in self._changes if at > now - within_s and change * sign > 0)


@dataclass(frozen=True)
class Course:
    """What became of a step of load."""

    enough_s: float  # until the pods that were ready could do what was asked
    calm_s: float  # until nobody waited longer than a tenth of a second for the engine
    worst_s: float  # the longest wait
    refused: float  # share of what was asked in the first five minutes
    most: int  # replicas
    turns: int


def simulate(speed: float, start_s: float, signals: Sequence[str], before: float, after: float) -> Course:
    """Follow a step of load at 0 s for twenty minutes, after ten of what was asked before.

    Args:
        speed: Images a second of a pod.
        start_s: From the wish for a pod until it is ready.
        signals: Metrics that the autoscaler looks at.
        before: Images a second that are asked until the step.
        after: From then on.
    """
    pods, scaler = [Pod(-math.inf) for _ in range(MIN_REPLICAS)], Autoscaler(signals)
    enough, calm, worst, refused, offered, most = math.inf, math.inf, 0.0, 0.0, 0.0, 0
    for tick in range(round(-600 / STEP_S), round(1200 / STEP_S)):
        now = tick * STEP_S
        asked = after if now >= 0 else before
        ready = [pod for pod in pods if pod.ready_at <= now]
        lost = sum(_serve(pod, asked / len(ready) * STEP_S, speed) for pod in ready)
        if now % SCRAPE_S == 0:
            for pod in ready:
                pod.seen_queue = pod.queue
                pod.served.append(0.0)
        if now % SYNC_S == 5.0:
            number = scaler.replicas(now, pods, speed)
            pods = pods[:number] + [Pod(now + start_s) for _ in range(number - len(pods))]
        if now < 0:
            continue
        wait = max(pod.queue for pod in ready) / speed
        worst, most = max(worst, wait), max(most, len(pods))
        enough = min(enough, now) if len(ready) * speed >= asked else enough
        calm = min(calm, now) if wait <= 0.1 else math.inf
        if now < 300:
            refused, offered = refused + lost, offered + asked * STEP_S
    return Course(enough, calm, worst, refused / offered, most, scaler.turns)


def _serve(pod: Pod, images: float, speed: float) -> float:
    """Let a pod work for a step, and return how many images it refused."""
    pod.queue += images
    done = min(pod.queue, speed * STEP_S)
    pod.queue -= done
    pod.served[-1] += done
    lost = max(0.0, pod.queue - min(QUEUE_IMAGES, LATEST_S * speed))
    pod.queue -= lost
    return lost


def main(arguments: list[str]) -> int:
    """Work it out, and print the tables in Markdown; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest autoscaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--factor", type=float, default=4, help="how many times as much is asked (default: 4)")
    parser.add_argument("--mib-s", type=float, default=100, help="MiB/s at which a node pulls (default: 100)")
    args = parser.parse_args(arguments)
    for name, model in MODELS.items():
        speed, before = model.speed, MIN_REPLICAS * model.speed * 0.5
        after = before * args.factor
        head = (f"{name}, {before:,.0f} → {after:,.0f} images/s", *HEADS)
        print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        fast = next(iter(STARTS))
        alone: list[tuple[str, ...]] = [("backlog",), ("load",)]
        for signals, words in [(one, fast) for one in alone] + [(("load", "backlog"), words) for words in STARTS]:
            start_s = ASSUMED_S + model.start_s + STARTS[words] / args.mib_s
            seen = simulate(speed, start_s, signals, before, after)
            print(
                f"| {' and '.join(signals)} | {words} | {start_s:.1f} s "
                f"| {seen.enough_s:,.0f} s | {seen.calm_s:,.0f} s "
                f"| {seen.worst_s:.1f} s | {100 * seen.refused:.1f} % | {seen.most} | {seen.turns} |"
            )
    return 0
