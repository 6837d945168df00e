"""Two BentoML services that do nothing: what starting any takes. Started by `python -m benchmarks start`."""

from __future__ import annotations

import bentoml


@bentoml.service
class IdleRunner:
    """Stands where the runner would."""


@bentoml.service
class IdleEdge:
    """Stands where the edge would."""

    runner = bentoml.depends(IdleRunner)
