"""What a version costs to load, and what is left of it once it is gone: `python -m loadtest unload`.

Loads and unloads a package again and again, in threads of one process as the runner does, then each time in a
process of its own; prints seconds until the first answer, and memory. docs/adr/0002-versions-in-one-process.md
keeps a result. Other work on the machine spoils the times, not the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Literal, cast

import numpy as np

from engines.cpus import available_cpus
from engines.registry import load_engine
from engines.selection import choose_variant
from loadtest.figures import spread
from loadtest.processes import memory_mib
from model_store.verify import verify_folder
from service.batching.calibration import batch_of
from service.host.memory import give_back_memory
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
    give_back_memory()
    return {"seconds": seconds, "loaded": loaded, "closed": closed, "given_back": memory_mib()}


def in_processes(package: Path, engine_name: str, times: int) -> list[dict[str, float]]:
    """Do the same, each time in a new process; the seconds count from its start."""
    seen = []
    for _ in range(times):
        command = [sys.executable, "-m", "loadtest", "unload", "--engine", engine_name, "--child", str(time.time())]
        done = subprocess.run([*command, str(package)], stdout=subprocess.PIPE, check=True)
        seen.append(json.loads(done.stdout))
    return seen


def main(arguments: list[str]) -> int:
    """Measure and print a table in Markdown; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest unload", description=__doc__)
    parser.add_argument("package", type=Path, nargs="?", default=Path(".local/package"), help="a packaged version")
    parser.add_argument("--engine", choices=("openvino", "tensorflow"), default="openvino")
    parser.add_argument("--times", type=int, default=10, help="cycles (10)")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    engine_name = cast("Literal['openvino', 'tensorflow']", options.engine)
    if options.child:
        before = time.time() - options.child
        seen = one_cycle(options.package, engine_name)
        print(json.dumps({**seen, "seconds": before + seen["seconds"]}))
        return 0
    empty = memory_mib()
    cycles = [one_cycle(options.package, engine_name) for _ in range(options.times)]
    children = in_processes(options.package, engine_name, max(3, options.times // 3))
    print(f"{options.engine}; an empty process has {empty:.0f} MiB\n")
    print("| | seconds to the first answer | MiB loaded | closed | given back, each time |\n|---|---|---|---|---|")
    for name, rows in (("in one process", cycles), ("a process each", children)):
        seconds = [row["seconds"] for row in rows]
        left = ", ".join(f"{row['given_back']:.0f}" for row in rows)
        loaded, closed = (median(row[key] for row in rows) for key in ("loaded", "closed"))
        print(f"| {name} | {spread(seconds, '.2f')} | {loaded:.0f} | {closed:.0f} | {left} |")
    return 0
