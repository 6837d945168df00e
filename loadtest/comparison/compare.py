"""The service beside other serving layers, and all of them beside the bare engine: `python -m loadtest compare`.

Each contestant is started anew in each round, alone; before and after each of its windows under load the bare engine
runs for some seconds, and what counts is the share of it that the contestant reaches. All have the same pictures and
the same file of the engine; Flask has Keras. Where a contestant has settings that matter, each is tried first, and the
best are compared. Prints tables in Markdown; the figures of every window and a picture go to `.local/compare/`.
docs/performance.md tells more, and keeps a result.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import mean

from tqdm import tqdm

from loadtest.batch_speed import BatchSpeed
from loadtest.intruders import Watch
from loadtest.machine import describe_machine
from loadtest.processes import free_port

from .bare_process import BareProcess
from .bare_way import Way, ways
from .contestants import lineup
from .contestants.environment import make_environment
from .contestants.lineup import Contestant
from .contestants.process import Running
from .contestants.task import Choice, Task
from .lean_client import ANSWERED, Report
from .options import Options
from .result import BARE, Comparison, Start, Window

_PINS = Path(lineup.__file__).parent
_WARM_CLIENTS = 8
_MOST_DIFFERENCE = 0.02
"""Of a score from that of the bare engine, for a contestant that runs the same file."""


def main(arguments: list[str]) -> int:
    """Compare, print the tables, write the results; return the exit status."""
    options = Options.parse(arguments, __doc__)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        comparison = Arena(options, Path(folder)).compare()
    if not comparison.windows:
        print("Nothing was measured", file=sys.stderr)
        return 130
    written = _write(comparison, options.output)
    shown = comparison.quiet() if options.quiet_only else comparison
    if shown.windows:
        print(shown.markdown())
    else:
        print("No window was quiet; the figures of all are in the file below", file=sys.stderr)
    print(f"All figures: {written}; picture: {written.with_suffix('.png')}", file=sys.stderr)
    return 0


class Arena:
    """Runs the contestants in turn."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._folder = folder
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
            self._ways = {clients: self._best_way(bare, clients) for clients in options.clients}
        if self._description.engine != "openvino":
            raise SystemExit(f"compare: {self._description.variant} would be served; only OpenVINO's can be compared")
        self._contestants = [one for one in lineup.line_up(self._description.threads) if one.name in options.only]
        if "flask" in options.only and not (self._package / "model.keras").exists():
            raise SystemExit("compare: the version has no model.keras for Flask; leave it out with --only")
        self._bodies = self._write_bodies()
        self._pythons = {one.name: self._python(one) for one in self._contestants}

    def compare(self) -> Comparison:
        """Try the settings, then run all rounds."""
        options = self._options
        choices = {one.name: self._best_choice(one) for one in tqdm(self._contestants, desc="Trying settings")}
        comparison = Comparison(self._facts())
        for clients, way in self._ways.items():
            comparison.settings[f"{BARE}, {clients} client{'s' if clients > 1 else ''}"] = way.text
        for contestant in self._contestants:
            tuned = len(contestant.choices) > 1
            comparison.settings[contestant.title] = choices[contestant.name].text if tuned else "as it comes"
        turns = options.rounds * len(self._contestants)
        # Ctrl-C ends the rounds early; what was measured until then is shown.
        with suppress(KeyboardInterrupt), tqdm(total=turns, desc="Rounds") as progress:
            for number in range(options.rounds):
                # Each round begins with another one, so that none always follows the same.
                turn = number % len(self._contestants)
                for contestant in [*self._contestants[turn:], *self._contestants[:turn]]:
                    self._round(contestant, choices[contestant.name], number, comparison)
                    progress.update()
        if len(comparison.starts) < turns:
            comparison.facts["rounds"] = f"ended early, after {len(comparison.starts)} of {turns} turns"
        return comparison

    def _round(self, contestant: Contestant, choice: Choice, number: int, comparison: Comparison) -> None:
        """Start a contestant, and measure it with each number of clients."""
        options = self._options
        with self._run(contestant, choice) as running:
            with self._bare() as bare:
                seconds, difference = self._first_answers(contestant, running)
                comparison.differences[contestant.title] = difference
                self._load(running, _WARM_CLIENTS, options.trial_s)
                for clients in options.clients:
                    watch = Watch()
                    limits = [bare.run(self._ways[clients], options.seconds / 4)]
                    before = running.cpu_s()
                    report = self._load(running, clients, options.seconds)
                    cpu_s = {kind: spent - before.get(kind, 0.0) for kind, spent in running.cpu_s().items()}
                    limits.append(bare.run(self._ways[clients], options.seconds / 4))
                    answers = max(1, report.answers)
                    comparison.windows.append(
                        Window(
                            contestant.title,
                            clients,
                            number,
                            report.rate,
                            report.percentile_ms(0.5),
                            report.percentile_ms(0.99),
                            {status: count for status, count in report.statuses.items() if status != ANSWERED},
                            {kind: 1000 * spent / answers for kind, spent in cpu_s.items()},
                            1000 * report.cpu_s / max(1, sum(report.statuses.values())),
                            BatchSpeed.average(limits),
                            watch.look(),
                        )
                    )
            # Only now that the bare engine has ended: it would bear half of the pages that both have in memory.
            comparison.starts.append(Start(contestant.title, seconds, running.memory_mib()))

    def _first_answers(self, contestant: Contestant, running: Running) -> tuple[float, float]:
        """Wait until a contestant answers, and compare its scores.

        Returns:
            Seconds since its start, and the largest difference of a score.

        Raises:
            SystemExit: It runs the same file, and does not give the same scores.
        """
        seconds, difference = 0.0, 0.0
        for path, wanted in zip(self._bodies, self._description.scores, strict=True):
            elapsed, text = running.wait_for_answer(path.read_bytes())
            seconds = seconds or elapsed
            (scores,) = json.loads(text)["predictions"]
            difference = max(difference, *(abs(score - other) for score, other in zip(scores, wanted, strict=True)))
        if contestant.name != "flask" and difference > _MOST_DIFFERENCE:
            raise SystemExit(f"{contestant.title}: a score differs by {difference:.3f} from the bare engine's")
        return seconds, difference

    def _best_choice(self, contestant: Contestant) -> Choice:
        """Return the settings with the best mean share of the bare engine's rate over the numbers of clients."""
        if len(contestant.choices) == 1:
            return contestant.choices[0]
        shares: dict[Choice, float] = {}
        for choice in tqdm(contestant.choices, desc=contestant.title, leave=False):
            with self._run(contestant, choice) as running, self._bare() as bare:
                self._first_answers(contestant, running)
                self._load(running, _WARM_CLIENTS, self._options.trial_s)
                shares[choice] = mean(
                    self._load(running, clients, self._options.trial_s).rate
                    / bare.run(self._ways[clients], self._options.trial_s / 2).rate
                    for clients in self._options.clients
                )
            tqdm.write(f"{contestant.title}, {choice.text}: {shares[choice]:.2f} of the bare engine", file=sys.stderr)
        return max(shares, key=lambda choice: shares[choice])

    def _best_way(self, bare: BareProcess, clients: int) -> Way:
        """Return the fastest layout of the bare engine for so many callers; the best of three tries counts."""
        candidates = ways(clients, bare.description.streams)
        rates: dict[Way, float] = {}
        for _ in range(3):
            for way in candidates:
                rates[way] = max(rates.get(way, 0.0), bare.run(way, self._options.trial_s / 2).rate)
        return max(rates, key=lambda way: rates[way])

    def _run(self, contestant: Contestant, choice: Choice) -> Running:
        """Return the processes of a contestant, to be started."""
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
        arguments = [argument.format(port=port) for argument in contestant.arguments]
        return Running(
            [str(self._pythons[contestant.name]), *arguments],
            {**self._environment, **task.environment()},
            self._options.output / f"{contestant.name}.log",
            port,
            task.path,
            contestant.kinds,
        )

    def _load(self, running: Running, clients: int, seconds: float) -> Report:
        """Ask from a process of its own."""
        command = [sys.executable, "-m", "loadtest.comparison.lean_client", running.url, *map(str, self._bodies)]
        command += ["--clients", str(clients), "--seconds", str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, start_new_session=True)
        return Report.from_json(done.stdout)

    def _bare(self) -> BareProcess:
        return BareProcess(self._package, self._environment)

    def _python(self, contestant: Contestant) -> Path:
        if not contestant.requirements:
            return Path(sys.executable)
        folder = self._options.output / f"venv-{contestant.name}"
        return make_environment(_PINS / contestant.requirements, folder, lambda text: tqdm.write(text, file=sys.stderr))

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

    def _write_bodies(self) -> list[Path]:
        """Write a request for each picture."""
        paths = []
        for number, picture in enumerate(self._description.pictures):
            paths.append(self._folder / f"{number}.json")
            paths[-1].write_text(json.dumps({"instances": [{"b64": picture}]}))
        return paths

    def _facts(self) -> dict[str, str]:
        options, description = self._options, self._description
        sizes = [len(base64.b64decode(picture)) for picture in description.pictures]
        pictures = f"{len(sizes)} photographs of {min(sizes) // 1000}–{max(sizes) // 1000} kB"
        size = f"{description.height} × {description.width}"
        return {
            "machine": describe_machine(),
            "model": f"{options.model}, {size}, {description.classes} classes, {description.variant}",
            "accuracy": f"what is served against the Keras model in float32: {description.loss}",
            "load": f"{pictures}, one a request, in base64; "
            f"{options.rounds} rounds of {options.seconds:g} s, of the bare engine half as long",
            "date": time.strftime("%Y-%m-%d %H:%M"),
        }


def _write(comparison: Comparison, folder: Path) -> Path:
    """Write the figures and the picture, and return where the figures are."""
    from .chart import draw  # Takes 100 MB, which nobody needs while something is measured.

    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(comparison.document(), indent=1))
    draw(comparison, path.with_suffix(".png"))
    return path
