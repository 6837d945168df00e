"""Run the competitors and the bare engine in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from tqdm import tqdm

from benchmarks.load.closed_loop import Report, closed_loop, write_bodies
from benchmarks.measuring.batch_speed import BatchSpeed
from benchmarks.measuring.interference import InterferenceMonitor
from benchmarks.measuring.machine import describe_machine
from benchmarks.measuring.processes import free_port
from benchmarks.servers.server_process import ServerProcess, request
from loadtest.load.images import SIZES, jpegs

from .bare_layout import Layout, layouts
from .bare_process import BareEngineProcess
from .competitors import registry
from .competitors.environment import make_environment
from .competitors.registry import Competitor
from .competitors.task import Choice, Task
from .result import BARE, Comparison, Start, Window

_PINS = Path(registry.__file__).parent
_WARM_CLIENTS = 8
_TIMEOUT_S = 180.0
_MAX_DIFFERENCE = 0.02
"""Of a score from that of the bare engine, for a competitor that runs the same file."""


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    model: str
    version: str
    store: str | None
    precision: str
    clients: tuple[int, ...]
    rounds: int
    seconds: float
    """Length of a window."""
    trial_s: float
    only: tuple[str, ...]
    output: Path


class ComparisonRun:
    """The competitors, run in turn."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._environment = {
            **os.environ,
            "MODEL_NAME": options.model,
            "MODEL_VERSION": options.version,
            "MODEL_CACHE_DIR": str(options.output / "cache"),
            "PRECISION": options.precision,
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(folder),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }
        if options.store:
            self._environment["MODEL_STORE_URL"] = options.store
        self._package = self._pull()
        with self._bare() as bare:
            self._description = bare.description
            self._layouts = {clients: self._best_layout(bare, clients) for clients in options.clients}
        if self._description.engine != "openvino":
            raise SystemExit(f"compare: {self._description.variant} would be served; only OpenVINO's can be compared")
        self._path = f"/v1/models/{options.model}:predict"
        self._competitors = [
            one for one in registry.all_competitors(self._description.threads) if one.name in options.only
        ]
        if "flask" in options.only and not (self._package / "model.keras").exists():
            raise SystemExit("compare: the version has no model.keras for Flask; leave it out with --only")
        self._bodies = write_bodies(folder)
        self._pythons = {one.name: self._python(one) for one in self._competitors}

    def compare(self) -> Comparison:
        """Try the settings, then run all rounds."""
        options = self._options
        choices = {one.name: self._best_choice(one) for one in tqdm(self._competitors, desc="Trying settings")}
        comparison = Comparison(self._facts())
        for clients, layout in self._layouts.items():
            comparison.settings[f"{BARE}, {clients} client{'s' if clients > 1 else ''}"] = layout.text
        for competitor in self._competitors:
            tuned = len(competitor.choices) > 1
            comparison.settings[competitor.title] = choices[competitor.name].text if tuned else "as it comes"
        turns = options.rounds * len(self._competitors)
        # Ctrl-C ends the rounds early; the results until then are shown.
        with suppress(KeyboardInterrupt), tqdm(total=turns, desc="Rounds") as progress:
            for number in range(options.rounds):
                # Each round begins with another one, so that none always follows the same.
                turn = number % len(self._competitors)
                for competitor in [*self._competitors[turn:], *self._competitors[:turn]]:
                    self._round(competitor, choices[competitor.name], number, comparison)
                    progress.update()
        if len(comparison.starts) < turns:
            comparison.facts["rounds"] = f"ended early, after {len(comparison.starts)} of {turns} turns"
        return comparison

    def _round(self, competitor: Competitor, choice: Choice, number: int, comparison: Comparison) -> None:
        """Start a competitor, and measure it with each number of clients."""
        options = self._options
        with self._run(competitor, choice) as running:
            with self._bare() as bare:
                seconds, difference = self._first_responses(competitor, running)
                comparison.differences[competitor.title] = difference
                self._load(running, _WARM_CLIENTS, options.trial_s)
                for clients in options.clients:
                    monitor = InterferenceMonitor()
                    limits = [bare.run(self._layouts[clients], options.seconds / 4)]
                    before = running.cpu_s()
                    report = self._load(running, clients, options.seconds)
                    cpu_s = {kind: spent - before.get(kind, 0.0) for kind, spent in running.cpu_s().items()}
                    limits.append(bare.run(self._layouts[clients], options.seconds / 4))
                    comparison.windows.append(
                        Window(
                            competitor.title,
                            clients,
                            number,
                            report.rate,
                            report.percentile_ms(0.5),
                            report.percentile_ms(0.99),
                            report.failures,
                            {kind: 1000 * spent / max(1, report.requests) for kind, spent in cpu_s.items()},
                            1000 * report.cpu_s / max(1, sum(report.statuses.values())),
                            BatchSpeed.average(limits),
                            monitor.read(),
                        )
                    )
            # After the end of the bare engine: half of the pages that both map would count for it.
            comparison.starts.append(Start(competitor.title, seconds, running.memory_mib()))

    def _first_responses(self, competitor: Competitor, running: ServerProcess) -> tuple[float, float]:
        """Wait for the first responses of a competitor, and compare its scores.

        Returns:
            Seconds from its start to the first response, and the largest difference of a score.

        Raises:
            SystemExit: It runs the same file and returns other scores.
        """
        seconds, difference = 0.0, 0.0
        for path, wanted in zip(self._bodies, self._description.scores, strict=True):
            elapsed, text = running.wait_until(partial(_post, f"{running.url}{self._path}", path.read_bytes()))
            seconds = seconds or elapsed
            (scores,) = json.loads(text)["predictions"]
            difference = max(difference, *(abs(score - other) for score, other in zip(scores, wanted, strict=True)))
        if competitor.name != "flask" and difference > _MAX_DIFFERENCE:
            raise SystemExit(f"{competitor.title}: a score differs by {difference:.3f} from the bare engine's")
        return seconds, difference

    def _best_choice(self, competitor: Competitor) -> Choice:
        """Return the settings with the best mean share of the bare engine's rate over the numbers of clients."""
        if len(competitor.choices) == 1:
            return competitor.choices[0]
        shares: dict[Choice, float] = {}
        for choice in tqdm(competitor.choices, desc=competitor.title, leave=False):
            with self._run(competitor, choice) as running, self._bare() as bare:
                self._first_responses(competitor, running)
                self._load(running, _WARM_CLIENTS, self._options.trial_s)
                shares[choice] = mean(
                    self._load(running, clients, self._options.trial_s).rate
                    / bare.run(self._layouts[clients], self._options.trial_s / 2).rate
                    for clients in self._options.clients
                )
            tqdm.write(f"{competitor.title}, {choice.text}: {shares[choice]:.2f} of the bare engine", file=sys.stderr)
        return max(shares, key=lambda choice: shares[choice])

    def _best_layout(self, bare: BareEngineProcess, clients: int) -> Layout:
        """Return the fastest layout of the bare engine for a number of clients; the best of three tries counts."""
        candidates = layouts(clients, bare.description.streams)
        rates: dict[Layout, float] = {}
        for _ in range(3):
            for layout in candidates:
                rates[layout] = max(rates.get(layout, 0.0), bare.run(layout, self._options.trial_s / 2).rate)
        return max(rates, key=lambda layout: rates[layout])

    def _run(self, competitor: Competitor, choice: Choice) -> ServerProcess:
        """Return a competitor, ready to be started."""
        description, port = self._description, free_port()
        task = Task(
            self._options.model,
            description.network,
            str(self._package / "model.keras"),
            description.precision,
            description.height,
            description.width,
            description.threads,
            port,
            choice,
        )
        arguments = [argument.format(port=port) for argument in competitor.arguments]
        return ServerProcess(
            [str(self._pythons[competitor.name]), *arguments],
            {**self._environment, **task.environment()},
            self._options.output / f"{competitor.name}.log",
            port,
            roles=competitor.roles,
        )

    def _load(self, running: ServerProcess, clients: int, seconds: float) -> Report:
        return closed_loop(f"{running.url}{self._path}", self._bodies, clients, seconds)

    def _bare(self) -> BareEngineProcess:
        return BareEngineProcess(self._package, self._environment)

    def _python(self, competitor: Competitor) -> Path:
        if not competitor.requirements:
            return Path(sys.executable)
        folder = self._options.output / f"venv-{competitor.name}"
        return make_environment(_PINS / competitor.requirements, folder, lambda text: tqdm.write(text, file=sys.stderr))

    def _pull(self) -> Path:
        """Return a folder with all files of the version."""
        options = self._options
        store = ["--store", options.store] if options.store else []
        command = [sys.executable, "-m", "model_store"]
        wanted = f"{options.model}:{options.version}"
        done = subprocess.run(
            [*command, "show", wanted, *store, "--json"], stdout=subprocess.PIPE, text=True, env=self._environment
        )
        if done.returncode:
            raise SystemExit(done.returncode)
        digest = json.loads(done.stdout)["digest"].removeprefix("sha256:")
        folder = options.output / "models" / f"{options.model}-{digest[:12]}"
        if not folder.exists():
            command += ["pull", f"{options.model}:sha256:{digest}", *store, "--output", str(folder), "--quiet"]
            if status := subprocess.run(command, stdout=subprocess.DEVNULL, env=self._environment).returncode:
                raise SystemExit(status)
        return folder

    def _facts(self) -> dict[str, str]:
        options, description = self._options, self._description
        sizes = [len(image) for image in jpegs(SIZES[1])]
        images = f"{len(sizes)} photographs of {min(sizes) // 1000}–{max(sizes) // 1000} kB"
        size = f"{description.height} × {description.width}"
        return {
            "machine": describe_machine(),
            "model": f"{options.model}, {size}, {description.classes} classes, {description.variant}",
            "accuracy": f"what is served against the Keras model in float32: {description.loss}",
            "load": f"{images}, one a request, in base64; "
            f"{options.rounds} rounds of {options.seconds:g} s, of the bare engine half as long",
            "date": time.strftime("%Y-%m-%d %H:%M"),
        }


def _post(url: str, body: bytes) -> bytes:
    posted = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with request(posted, timeout=_TIMEOUT_S) as response:
        text: bytes = response.read()
    return text
