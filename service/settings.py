"""Define all settings; this is the only place that reads them from the environment.

`python -m service.settings` prints them as a Markdown table.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engines.registry import ENGINES
from model_store.catalog.reference import parse_selector
from model_store.errors import StoreError
from model_store.store.remote import Remote
from model_store.trust.signing import Trust
from service.core.key_file import read_keys

log = logging.getLogger("bentoml.model")

MIB = 2**20

_SECRET = {"ADMIN_TOKEN"}
"""Settings whose values are never printed."""

_RENAMED = {"ENGINE_LANES": "ENGINE_STREAMS", "MODEL_POLL_SECONDS": "MODEL_POLL_S"}
"""Former names of settings, accepted for one more release."""

Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """The settings; environment variables have the same names in capitals."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True, extra="ignore")

    model_store_url: str = f"file://{Path.cwd() / '.local' / 'store'}"
    """Store of the published versions: `file:///path`, `s3://bucket/prefix`, `gs://…`, `az://…` (credentials and
    endpoint from the usual variables of each) or, read-only, `https://…`."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = "xception"
    """Model to serve; also its name in URLs."""

    model_version: str = "stable"
    """Default version, for requests that name none: a label, a version number, or the `sha256:…` of a manifest."""

    max_versions: Annotated[int, Field(ge=1, le=64)] = 3
    """Maximum versions loaded at once; one extra during a swap. `MODEL_VERSION` comes first, then versions of other
    labels, those already loaded before others. More need more memory."""

    model_poll_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds between two polls of the store for changed labels; 0 polls only on `reload`."""

    model_public_key: Path | None = None
    """File with a public key; when set, only versions signed with its private key (`publish --sign`) are loaded."""

    admin_token: Annotated[str, Field(min_length=16)] | None = Field(default=None, repr=False)
    """Token of at least 16 characters for `reload` and `/debug/batching`, sent as `Authorization: Bearer …`; they are
    closed without it."""

    model_cache_dir: Path = Path.home() / ".cache" / "xception-service" / "models"
    """Directory of pulled versions. A volume here makes restarts independent of the store."""

    model_cache_versions: Count = 5
    """Versions kept in the cache, including those in use; the oldest are deleted when another becomes the default."""

    model_store_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds to wait for a store that does not respond, before the cache is used."""

    load_retry_max_s: Annotated[float, Field(ge=1)] = 30.0
    """Longest pause between two attempts to get a model, in seconds; pauses double up to it."""

    load_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that an engine may take to load a version; after that the previous version stays."""

    engine: str = "auto"
    """Inference engine: `openvino` or `tensorflow`; `auto` takes the fastest one installed."""

    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """Precision of the computation: `fp32`, `bf16` or `int8`. `auto` takes the fastest that this CPU supports and whose
    measured accuracy is within `MAX_ACCURACY_LOSS`; an explicit one is used as it is."""

    engine_threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of the engine; 0 takes all CPUs available to the container."""

    engine_streams: Annotated[int, Field(ge=0)] = 0
    """Batches run in parallel under load, each on its share of the threads; 0 learns the best number, 1 runs them one
    after the other. A single batch always has all threads."""

    engine_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that a batch may take longer than expected; after that the runner counts as stuck, ends itself and is
    restarted."""

    max_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Maximum loss of top-1 accuracy of a faster precision against float32, from 0 to 1, on the images it was measured
    on."""

    max_batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Largest batch size tried during warm-up; the one in use is learned."""

    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Time for which an idle engine waits for a batch to fill, in ms, at most 1000. 0 never waits; more helps only on a
    GPU."""

    warmup_budget_s: Annotated[float, Field(gt=0)] = 3.0
    """Seconds for learning the batch size during warm-up; more is slower and more reliable. Only the first start of a
    model on a machine learns; later ones read the profile from `.learned` in `MODEL_CACHE_DIR` (delete it to learn
    anew)."""

    queue_max_images: Count = 256
    """Maximum images waiting in the runner; requests over it get 429. More means longer waits under overload. Bulk
    requests may use three quarters of this and of the other limits."""

    queue_max_mib: Count = 256
    """Maximum MiB of pixels waiting in the runner; requests over it get 429."""

    max_in_flight: Count = 256
    """Maximum requests in flight in all `EDGE_WORKERS` together; requests over it get 429 before their body is read."""

    max_in_flight_mib: Count = 256
    """Maximum MiB of request bodies in memory in all `EDGE_WORKERS` together; requests over it get 429."""

    request_timeout_ms: Annotated[int, Field(ge=1)] = 30_000
    """Deadline of a request, in ms; the header `X-Request-Timeout-Ms` can shorten it. Requests over it get 504."""

    body_timeout_ms: Annotated[int, Field(ge=1)] = 10_000
    """Time for the body of a request to arrive, in ms; slower ones get 408."""

    drain_timeout_s: Annotated[float, Field(ge=0)] = 25.0
    """Seconds that a stopping runner still serves connected edges; BentoML kills it after 30."""

    max_request_mib: Count = 32
    """Maximum size of a request body, in MiB; larger ones get 413."""

    max_image_mib: Count = 16
    """Maximum size of an encoded image, in MiB."""

    max_image_megapixels: Count = 64
    """Maximum size of an image, in millions of pixels, for WebP half of it; checked before decoding."""

    max_instances: Count = 64
    """Maximum images in one request."""

    top_k: Count = 5
    """Classes in a response of `/classify`, best first; `?top_k=` overrides it."""

    edge_workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve HTTP and decode images, all in front of one runner."""

    decode_threads: Annotated[int, Field(ge=0)] = 0
    """Threads per edge process that decode images; 0 takes the number of CPUs."""

    api_keys_file: Path | None = None
    """File of API keys (`python -m service.auth`), read again when it changes; when set, inference, status and metadata
    need one of them, sent as `Authorization: Bearer …`."""

    log_format: Literal["text", "json"] = "text"
    """Format of log lines, `text` or `json`; there is one line for each request that is rejected or fails."""

    access_log: bool = False
    """Write a log line for each request at the edge."""

    runner_url: str | None = None
    """URL of a separately started runner (`http://host:port`); without it one is started here."""

    runner_port: Annotated[int, Field(ge=1, le=65535)] = 3001
    """TCP port, beside that of `bentoml serve`, on which a separately started runner receives pixels; the edge connects
    to it on the host of `RUNNER_URL`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.engine not in ("auto", *ENGINES):
            names = ", ".join(repr(name) for name in ("auto", *ENGINES))
            raise ValueError(f"engine: {self.engine!r} is not one of {names}")
        try:
            parse_selector(self.model_version)
        except StoreError as error:
            raise ValueError(f"model_version: {error}") from error
        try:
            Remote.open(self.model_store_url)
        except StoreError as error:
            raise ValueError(f"model_store_url: {error}") from error
        try:
            if self.model_public_key:
                Trust.from_file(self.model_public_key)
        except StoreError as error:
            raise ValueError(f"model_public_key: {error}") from error
        try:
            if self.api_keys_file:
                read_keys(self.api_keys_file)
        except ValueError as error:
            raise ValueError(f"api_keys_file: {error}") from error
        if self.max_instances > self.queue_max_images:
            raise ValueError("max_instances: must not be larger than QUEUE_MAX_IMAGES")
        if self.max_request_mib > self.max_in_flight_mib // self.edge_workers:
            raise ValueError("max_request_mib: must not be larger than MAX_IN_FLIGHT_MIB / EDGE_WORKERS")
        if self.max_in_flight < self.edge_workers:
            raise ValueError("max_in_flight: must not be smaller than EDGE_WORKERS")
        return self


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SystemExit: A value is not valid; the message is one line that names the variable.
    """
    try:
        return Settings(**_renamed())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        text = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # From `_fits_together`, whose messages begin with the name.
            name, _, reason = text.partition(": ")
            raise SystemExit(f"Settings: {name.upper()}: {reason}") from None
        name = ".".join(map(str, first["loc"])).upper()
        value = "" if name in _SECRET else f"={first['input']}"
        raise SystemExit(f"Settings: {name}{value}: {text}") from None


def _renamed() -> dict[str, Any]:
    """Return the settings given by a former name."""
    found: dict[str, Any] = {}
    for old, new in _RENAMED.items():
        if old not in os.environ:
            continue
        if new in os.environ:
            log.warning("%s is ignored: its new name %s is set, too", old, new)
        else:
            log.warning("%s is deprecated and will be removed in the next release: use %s", old, new)
            found[new.lower()] = os.environ[old]
    return found


def settings_table() -> str:
    """Return the settings as a Markdown table: variable, default, meaning."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{name.upper()}` | {_shown_default(name, field.default)} | {meaning} |")
    return "\n".join(rows)


def _shown_default(name: str, default: Any) -> str:
    if name == "model_store_url":
        return "`file://$PWD/.local/store`"
    if name == "model_cache_dir":
        return "`~/.cache/xception-service/models`"
    if default is None:
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    print(settings_table())
