"""The engines: a new one is a module in this package and an entry here.

The module has a function `load(model, variant, threads, streams, *, parallel_compile) -> Engine`. It is
imported only when the engine is used, so that a process with another engine needs neither its package nor its memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from engines.engine import Engine
from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel


@dataclass(frozen=True)
class EngineEntry:
    """How to load an engine."""

    module: str
    package: str
    """The package that must be installed."""
    precisions: tuple[str, ...]
    """Supported precisions, the fastest first, measured on x86-64 CPUs for Xception at 71 × 71 and at 299 × 299."""

    @property
    def installed(self) -> bool:
        """Return whether its package is installed; imports nothing."""
        return find_spec(self.package) is not None


ENGINES: dict[str, EngineEntry] = {
    "openvino": EngineEntry("engines.openvino", "openvino", ("int8", "bf16", "fp32")),
    "tensorflow": EngineEntry("engines.tensorflow", "tensorflow", ("bf16", "fp32")),
}
"""By name, as in `ENGINE` and in the variants of a manifest; the fastest first."""


def load_engine(
    model: VerifiedModel, variant: Variant, threads: int, streams: int = 0, *, parallel_compile: bool = True
) -> Engine:
    """Load a variant from verified files.

    Args:
        model: The verified files.
        variant: One of the variants of its manifest.
        threads: CPU threads that the engine may use.
        streams: Maximum streams; 0 leaves it to the engine.
        parallel_compile: Whether loading may use more than one core; not while another version serves.
    """
    module = import_module(ENGINES[variant.engine].module)
    engine: Engine = module.load(model, variant, threads, streams, parallel_compile=parallel_compile)
    return engine
