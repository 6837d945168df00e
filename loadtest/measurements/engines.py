"""What each engine and precision does on this machine, with nothing around it: `python -m loadtest engines`.

Every variant of a version runs in a process of its own, a batch at a time on all threads, then a batch in each lane.
All take turns in each round, so that what else happens on the machine hits all of them; the middle of the rounds
counts. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from tqdm import tqdm

from engines.cpus import available_cpus
from loadtest.figures import spread
from loadtest.intruders import Watch
from loadtest.json_lines import JsonLinesProcess
from loadtest.machine import describe_machine
from model_store.cache import Cache
from model_store.errors import StoreError
from model_store.manifest import MANIFEST_NAME, Manifest
from model_store.pull import pull
from model_store.reference import parse_selector, resolve
from model_store.remote import Remote
from service.settings import load_settings

from .engine_process import KERAS, Speed, Task

BATCHES = (1, 2, 4, 8, 16)


class EngineProcess(JsonLinesProcess):
    """Runs `engine_process.py`."""

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        module = "loadtest.measurements.engine_process"
        super().__init__(name, module, folder, name, threads, environment=environment)

    @property
    def streams(self) -> int:
        """Return how many batches it can run side by side."""
        return int(self.first)

    def run(self, task: Task) -> Speed:
        """Have it do a task."""
        return Speed(**self.ask(asdict(task)))


@dataclass(frozen=True)
class Row:
    """An engine, and how it is run."""

    process: EngineProcess
    side_by_side: bool

    @property
    def text(self) -> str:
        """Return it in words."""
        way = f"{self.process.streams} lanes" if self.side_by_side else "alone"
        return f"{self.process.name}, {way}"


def measure(processes: Sequence[EngineProcess], rounds: int, seconds: float) -> list[str]:
    """Run all of them in turn and return the rows of the table."""
    rows = [Row(process, way) for process in processes for way in ((False, True) if process.streams > 1 else (False,))]
    seen: defaultdict[tuple[Row, int], list[Speed]] = defaultdict(list)
    plan = [(batch, row) for _ in range(rounds) for batch in BATCHES for row in rows]
    for batch, row in tqdm(plan, unit="window", file=sys.stderr):
        seen[row, batch].append(row.process.run(Task(batch, row.side_by_side, seconds)))
    return [_line(row, [seen[row, batch] for batch in BATCHES]) for row in rows]


def _line(row: Row, columns: Sequence[Sequence[Speed]]) -> str:
    cells = [_cell([speed.rate for speed in speeds]) for speeds in columns]
    alone = columns[0]
    cells.append(f"{median(speed.batch_ms for speed in alone):.1f}")
    cells.append(f"{median(speed.cpu_ms for speed in alone):.1f}")
    cells.append(f"{max(speed.memory_mib for speeds in columns for speed in speeds):.0f}")
    return f"| {row.text} | {' | '.join(cells)} |"


def _cell(rates: Sequence[float]) -> str:
    return spread(rates, ".0f" if median(rates) >= 100 else ".1f")


def find_version(options: argparse.Namespace) -> Path:
    """Return the folder of the version that is meant; from a store it is pulled into the cache.

    Raises:
        SystemExit: There is no such version; the message is one line.
    """
    if options.folder:
        if not (options.folder / MANIFEST_NAME).is_file():
            raise SystemExit(f"{options.folder}: holds no {MANIFEST_NAME}, so it is no version of a model")
        return Path(options.folder)
    settings = load_settings()
    model, version = options.model or settings.model_name, options.version or settings.model_version
    try:
        remote = Remote.open(options.store or settings.model_store_url)
        return pull(remote, resolve(remote, model, parse_selector(version)), Cache(settings.model_cache_dir)).root
    except StoreError as error:
        raise SystemExit(str(error)) from None


def contenders(manifest: Manifest, everything: bool) -> list[str]:
    """Return the names of what can be run here: OpenVINO's variants, and on demand what needs TensorFlow."""
    names = [variant.name for variant in manifest.variants if variant.engine == "openvino"]
    if everything:
        if find_spec("tensorflow") is None or find_spec("keras") is None:
            raise SystemExit("--all needs TensorFlow and Keras, which are not installed")
        names += [variant.name for variant in manifest.variants if variant.engine == "tensorflow"]
        names += [KERAS] if any(file.path == "model.keras" for file in manifest.files) else []
    return names


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="of a packaged version (default: one from the store)")
    parser.add_argument("--store", metavar="URL", help="where versions are published (default: MODEL_STORE_URL)")
    parser.add_argument("--model", metavar="NAME", help="(default: MODEL_NAME)")
    parser.add_argument("--version", help="label, number or digest (default: MODEL_VERSION)")
    parser.add_argument("--only", metavar="NAME,…", help="such as openvino/int8 (default: all of OpenVINO)")
    parser.add_argument("--all", action="store_true", help="also TensorFlow and keras.predict")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each window (default: 1)")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="(default: the CPUs there are)")
    options = parser.parse_args(arguments)
    folder = find_version(options)
    manifest = Manifest.parse((folder / MANIFEST_NAME).read_bytes())
    names = contenders(manifest, options.all)
    if options.only:
        wanted = options.only.split(",")
        if unknown := [name for name in wanted if name not in names]:
            parser.error(f"--only {unknown[0]}: there are {', '.join(names)}")
        names = wanted
    watch = Watch()
    with ExitStack() as stack:
        processes = []
        for name in names:
            print(f"Loading {name} …", file=sys.stderr, flush=True)
            processes.append(stack.enter_context(EngineProcess(folder, name, options.threads)))
        lines = measure(processes, options.rounds, options.seconds)
    intrusion = watch.look()
    size = f"{manifest.input.width} × {manifest.input.height}, {len(manifest.classes)} classes"
    print(f"Images per second ({size}), middle of {options.rounds} rounds (least–most), {options.threads} threads.")
    print(
        f"{describe_machine()}.", "Other work disturbed it: " + intrusion.text if intrusion.spoils else "", end="\n\n"
    )
    print(f"| Engine | {' | '.join(f'batch {size}' for size in BATCHES)} | ms a batch of 1 | CPU ms an image | MiB |")
    print("|---|" + "---|" * (len(BATCHES) + 3))
    print("\n".join(lines))
    return 0
