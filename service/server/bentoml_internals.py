"""The only place that uses names that BentoML does not publish; a test fails when a release moves one of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.log import TraceRecordFilter, _component_name

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def component_name() -> str:
    """Return what BentoML calls this process in its log lines."""
    name: str = _component_name()
    return name


def remove_trace_filter(handler: logging.Handler) -> None:
    """Remove the filter that looks up the current span for each log line; no line of this service shows it."""
    handler.filters = [one for one in handler.filters if not isinstance(one, TraceRecordFilter)]


def tracer_provider() -> TracerProvider | None:
    """Return where spans go, or None where BentoML's configuration names no exporter."""
    tracing = BentoMLContainer.tracing
    if not (tracing.exporter_type.get() and tracing.sample_rate.get()):
        return None
    provider: TracerProvider = BentoMLContainer.tracer_provider.get()
    return provider
