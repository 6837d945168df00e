"""Measure the cost of loading a version, and the memory left once it is unloaded: `python -m benchmarks unload`.

Loads and unloads a package again and again, in threads of one process as the runner does, then each time in a process
of its own; prints seconds until the first answer, and memory. docs/adr/0002-versions-in-one-process.md keeps a result.
Other work on the machine spoils the times, not the memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Literal

import click
import numpy as np

from benchmarks.measuring.processes import memory_mib
from benchmarks.measuring.summary import spread
from benchmarks.options import POSITIVE, benchmark
from engines.cpus import available_cpus
from engines.registry import load_engine
from engines.selection import choose_variant
from model_store.trust.verify import verify_folder
from service.batching.calibration import batch_of
from service.host.memory import trim_memory
from service.lifecycle.golden_check import golden_pixels

BATCHES = (1, 2, 4, 8)


def one_cycle(package: Path, engine_name: str) -> dict[str, float]:
    """Load a version, run it, unload it; return times in seconds and memory in MiB."""
    started = time.perf_counter()
    model = verify_folder(package)
    variant = choose_variant(model.manifest, engine_name, "fp32", 1.0)
    engine = load_engine(model, variant, available_cpus())
    pixels = golden_pixels(model)
    engine.run(np.ascontiguousarray(pixels[:1]))
    seconds = time.perf_counter() - started
    for size in BATCHES:
        engine.run(batch_of(pixels, size))
    loaded = memory_mib()
    engine.close()
    del engine
    closed = memory_mib()
    trim_memory()
    return {"seconds": seconds, "loaded": loaded, "closed": closed, "given_back": memory_mib()}


def in_processes(package: Path, engine_name: str, times: int) -> list[dict[str, float]]:
    """Do the same, each time in a new process; the seconds count from its start."""
    seen = []
    for _ in range(times):
        command = [sys.executable, "-m", "benchmarks", "unload", "--engine", engine_name, "--child", str(time.time())]
        done = subprocess.run([*command, str(package)], stdout=subprocess.PIPE, check=True)
        seen.append(json.loads(done.stdout))
    return seen


@benchmark(__doc__)
@click.argument("package", type=click.Path(path_type=Path), default=Path(".local/package"))
@click.option("--engine", type=click.Choice(["openvino", "tensorflow"]), default="openvino")
@click.option("--times", type=POSITIVE, default=10, help="Cycles.")
@click.option("--child", type=float, hidden=True)
def main(package: Path, engine: Literal["openvino", "tensorflow"], times: int, child: float | None) -> int:
    """Measure and print a table in Markdown; return the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if child:
        before = time.time() - child
        seen = one_cycle(package, engine)
        print(json.dumps({**seen, "seconds": before + seen["seconds"]}))
        return 0
    empty = memory_mib()
    cycles = [one_cycle(package, engine) for _ in range(times)]
    children = in_processes(package, engine, max(3, times // 3))
    print(f"{engine}; an empty process has {empty:.0f} MiB\n")
    print("| | seconds to the first answer | MiB loaded | closed | given back, each time |\n|---|---|---|---|---|")
    for name, rows in (("in one process", cycles), ("a process each", children)):
        seconds = [row["seconds"] for row in rows]
        left = ", ".join(f"{row['given_back']:.0f}" for row in rows)
        loaded, closed = (median(row[key] for row in rows) for key in ("loaded", "closed"))
        print(f"| {name} | {spread(seconds, '.2f')} | {loaded:.0f} | {closed:.0f} | {left} |")
    return 0
