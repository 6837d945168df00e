"""Who is compared, and the settings that each is tried in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .task import Choice

_BENTOML = ("-m", "bentoml", "serve", "--host", "127.0.0.1", "--port")


@dataclass(frozen=True)
class Contestant:
    """A serving layer."""

    name: str
    """For `--only`."""
    title: str
    arguments: Sequence[str]
    """What Python is started with; `{port}` stands for the port."""
    requirements: str | None = None
    """The file beside this one with what it needs; without, it runs in this project's environment."""
    choices: Sequence[Choice] = (Choice(),)
    """Settings to try; the best are compared."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """What its processes do, by a word of their command lines; the first that fits counts."""


def line_up(cpus: int) -> list[Contestant]:
    """Return all contestants, with the choices that make sense on so many CPUs."""
    together, side_by_side = Choice(), Choice(streams=cpus)
    batches = [
        Choice(batch=4, wait_ms=2),
        Choice(batch=8, wait_ms=5),
        Choice(streams=cpus, batch=4, wait_ms=2),
    ]
    processes = [Choice(workers=cpus), Choice(workers=cpus, batch=4, wait_ms=2)]
    return [
        Contestant(
            "service",
            "the service",
            (*_BENTOML, "{port}", "service.app:EdgeService"),
            kinds={"xception_runner": "runner", "xception": "edge"},
        ),
        Contestant("flask", "Flask, `keras.predict`, float32", ("-m", "benchmarks.comparison.competitors.flask_app")),
        Contestant(
            "bentoml",
            "BentoML, `batchable=True`",
            (*_BENTOML, "{port}", "benchmarks.comparison.competitors.bentoml_app:ComparedEdge"),
            choices=[Choice(batch=32), Choice(batch=8)],
            kinds={"compared_runner": "runner", "compared_edge": "edge"},
        ),
        Contestant(
            "litserve",
            "LitServe 0.2.19",
            ("-m", "benchmarks.comparison.competitors.litserve_app"),
            requirements="requirements-litserve.txt",
            kinds={"--multiprocessing-fork": "workers", "benchmarks.comparison.competitors.litserve_app": "HTTP"},
            choices=[together, *batches[:2], *(processes if cpus > 1 else [])],
        ),
        Contestant(
            "mlserver",
            "MLServer 1.7.1",
            ("-m", "benchmarks.comparison.competitors.mlserver_app"),
            requirements="requirements-mlserver.txt",
            choices=[together, *batches[:2], *([side_by_side, batches[2]] if cpus > 1 else [])],
        ),
    ]
