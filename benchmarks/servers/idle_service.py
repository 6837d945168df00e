"""Two BentoML services that do nothing: the least that a start can take. Started by `python -m benchmarks start`."""

from __future__ import annotations

import bentoml


@bentoml.service
class IdleRunner:
    """Take the place of the runner."""


@bentoml.service
class IdleEdge:
    """Take the place of the edge."""

    runner = bentoml.depends(IdleRunner)
