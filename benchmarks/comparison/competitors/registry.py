"""The competitors, and the settings that each is tried in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.servers.server_process import EDGE, ROLES

from .task import Choice

_BENTOML = ("-m", "bentoml", "serve", "--host", "127.0.0.1", "--port")


@dataclass(frozen=True)
class Competitor:
    """A serving layer."""

    name: str
    """For `--only`."""
    title: str
    arguments: Sequence[str]
    """Arguments of Python; `{port}` stands for the port."""
    requirements: str | None = None
    """The file beside this one with its requirements; without one it runs in this project's environment."""
    choices: Sequence[Choice] = (Choice(),)
    """Settings to try; the best are compared."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Roles of its processes, as `ServerProcess` takes them."""


def all_competitors(cpus: int) -> list[Competitor]:
    """Return all competitors, with the choices that make sense on so many CPUs."""
    together, side_by_side = Choice(), Choice(streams=cpus)
    batches = [
        Choice(batch=4, wait_ms=2),
        Choice(batch=8, wait_ms=5),
        Choice(streams=cpus, batch=4, wait_ms=2),
    ]
    processes = [Choice(workers=cpus), Choice(workers=cpus, batch=4, wait_ms=2)]
    return [
        Competitor(
            "service",
            "the service",
            (*_BENTOML, "{port}", EDGE),
            roles=ROLES,
        ),
        Competitor("flask", "Flask, `keras.predict`, float32", ("-m", "benchmarks.comparison.competitors.flask_app")),
        Competitor(
            "bentoml",
            "BentoML, `batchable=True`",
            (*_BENTOML, "{port}", "benchmarks.comparison.competitors.bentoml_app:ComparedEdge"),
            choices=[Choice(batch=32), Choice(batch=8)],
            roles={"compared_runner": "runner", "compared_edge": "edge"},
        ),
        Competitor(
            "litserve",
            "LitServe 0.2.19",
            ("-m", "benchmarks.comparison.competitors.litserve_app"),
            requirements="requirements-litserve.txt",
            roles={"--multiprocessing-fork": "workers", "benchmarks.comparison.competitors.litserve_app": "HTTP"},
            choices=[together, *batches[:2], *(processes if cpus > 1 else [])],
        ),
        Competitor(
            "mlserver",
            "MLServer 1.7.1",
            ("-m", "benchmarks.comparison.competitors.mlserver_app"),
            requirements="requirements-mlserver.txt",
            choices=[together, *batches[:2], *([side_by_side, batches[2]] if cpus > 1 else [])],
        ),
    ]
