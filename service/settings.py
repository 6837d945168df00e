"""Every setting of the service, read from the environment once, and nowhere else.

`python -m service.settings` prints the table that stands in the README.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engines.registry import ENGINES
from model_store.errors import StoreError
from model_store.reference import parse_selector
from model_store.remote import Remote
from model_store.signing import Trust
from service.core.key_file import read_keys

log = logging.getLogger("bentoml.model")

MIB = 2**20

_SECRET = {"ADMIN_TOKEN"}
"""Settings whose value is never printed."""

_RENAMED = {"ENGINE_LANES": "ENGINE_STREAMS", "MODEL_POLL_SECONDS": "MODEL_POLL_S"}
"""Former names of settings, which work for one release more."""

Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """What an engineer can set, by environment variables of the same names in capitals."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True, extra="ignore")

    model_store_url: str = f"file://{Path.cwd() / '.local' / 'store'}"
    """Where published versions lie: `file:///path`, `s3://bucket/prefix`, `gs://…`, `az://…` (credentials and endpoint
    from the usual variables of each) or, to read only, `https://…`."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = "xception"
    """The model to serve; it is also its name in the URLs."""

    model_version: str = "stable"
    """Which version answers a request that names none: a label, a version number, or the `sha256:…` of a manifest."""

    max_versions: Annotated[int, Field(ge=1, le=64)] = 3
    """Versions in memory at once: the one of `MODEL_VERSION`, then those that other labels point to, the ones that
    serve already before others. 1 serves no other; more need more memory. While one takes another's place there is one
    more."""

    model_poll_s: Annotated[float, Field(ge=0)] = 30.0
    """How often the store is asked whether a label has moved, in seconds; 0 asks only when told to reload."""

    model_public_key: Path | None = None
    """A file with a public key. When set, nothing is loaded that its owner has not signed (`publish --sign`)."""

    admin_token: Annotated[str, Field(min_length=16)] | None = Field(default=None, repr=False)
    """What opens `reload` and `/debug/batching`, sent as `Authorization: Bearer …`; 16 characters at least. Unset,
    nothing does."""

    model_cache_dir: Path = Path.home() / ".cache" / "xception-service" / "models"
    """Where pulled versions are kept. A volume here makes a restart independent of the store."""

    model_cache_versions: Count = 5
    """Versions that stay in the cache, those in use included; when another one becomes the default, the oldest go."""

    model_store_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """How long a store that does not answer is waited for, in seconds, before the cache is tried."""

    load_retry_max_s: Annotated[float, Field(ge=1)] = 30.0
    """Longest pause between two attempts to get a model, in seconds; pauses double up to it."""

    load_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """How long an engine may take to load a version, in seconds; then what served before serves on."""

    engine: str = "auto"
    """What runs the model: `openvino` or `tensorflow`; `auto` takes the fastest one that is installed."""

    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """What the model is computed in: `fp32`, `bf16` or `int8`. `auto` takes the fastest that this CPU has instructions
    for and whose accuracy was measured to be within `MAX_ACCURACY_LOSS`; one that is named is taken as it is."""

    engine_threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of the engine; 0 takes all that the container may use."""

    engine_streams: Annotated[int, Field(ge=0)] = 0
    """Batches that run side by side under load, each on its share of the threads; 0 takes as many as pay, 1 runs one
    after the other. A lone batch always has all threads."""

    engine_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """How much longer than expected a batch may take, in seconds; then the runner counts as stuck, ends itself, and is
    started anew."""

    max_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How much top-1 a faster precision may lose against float32, on the pictures it was measured on."""

    max_batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Largest batch that warm-up tries; the one in use is learned and never larger than it pays."""

    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long an idle engine waits for a batch to fill, in ms. 0 never waits; more helps only a GPU."""

    warmup_budget_s: Annotated[float, Field(gt=0)] = 3.0
    """Time that warm-up may take to learn the batch size, in seconds; more makes the first start of a model on a
    machine slower and surer. Later ones take over what was learned, from `.learned` in `MODEL_CACHE_DIR`; delete it to
    learn anew."""

    queue_max_images: Count = 256
    """Images that may wait in the runner; beyond it requests get 429. More means longer waits under overload. Of this
    and the other bounds bulk requests may fill three quarters."""

    queue_max_mib: Count = 256
    """MiB of pixels that may wait in the runner; beyond it requests get 429."""

    max_in_flight: Count = 256
    """Requests that are worked on at once, by all `EDGE_WORKERS` together; beyond it they get 429 before their body is
    read."""

    max_in_flight_mib: Count = 256
    """MiB of request bodies that are held at once, by all `EDGE_WORKERS` together; beyond it requests get 429."""

    request_timeout_ms: Annotated[int, Field(ge=1)] = 30_000
    """Deadline of a request in ms; the header `X-Request-Timeout-Ms` may ask for less. Late answers are 504."""

    body_timeout_ms: Annotated[int, Field(ge=1)] = 10_000
    """How long the body of a request may take to arrive, in ms; slower ones get 408."""

    drain_timeout_s: Annotated[float, Field(ge=0)] = 25.0
    """How long a runner that is told to stop still answers the edges that are connected, in seconds; BentoML kills it
    after 30."""

    max_request_mib: Count = 32
    """Largest request body, in MiB; larger ones get 413."""

    max_image_mib: Count = 16
    """Largest encoded image, in MiB."""

    max_image_megapixels: Count = 64
    """Largest image, in millions of pixels, of a WebP half as many; checked before anything is decoded."""

    max_instances: Count = 64
    """Most images in one request."""

    top_k: Count = 5
    """Classes that `/classify` names, best first, unless the request asks for another number."""

    edge_workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that speak HTTP and decode images, all before one runner."""

    decode_threads: Annotated[int, Field(ge=0)] = 0
    """Threads of an edge process that decode images; 0 takes as many as there are CPUs."""

    api_keys_file: Path | None = None
    """A file of API keys (`python -m service.auth`), read again when it changes; when set, no inference, status or
    metadata without one of them, sent as `Authorization: Bearer …`."""

    log_format: Literal["text", "json"] = "text"
    """How log lines are written, as `text` or `json`; one for each request that is refused or fails."""

    access_log: bool = False
    """Write a log line for each request at the edge."""

    runner_url: str | None = None
    """Address of a runner that was started by itself (`http://host:port`); unset, one is started here."""

    runner_port: Annotated[int, Field(ge=1, le=65535)] = 3001
    """TCP port, beside the one of `bentoml serve`, at which a runner that was started by itself takes pixels; the edge
    finds it at the host of `RUNNER_URL`."""

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
        if not first["loc"]:  # Of our own checks, which begin with the name.
            name, _, reason = text.partition(": ")
            raise SystemExit(f"Settings: {name.upper()}: {reason}") from None
        name = ".".join(map(str, first["loc"])).upper()
        value = "" if name in _SECRET else f"={first['input']}"
        raise SystemExit(f"Settings: {name}{value}: {text}") from None


def _renamed() -> dict[str, Any]:
    """Return the settings that are given by a former name."""
    found: dict[str, Any] = {}
    for old, new in _RENAMED.items():
        if old not in os.environ:
            continue
        if new in os.environ:
            log.warning("%s is ignored: it is %s now, which is set, too", old, new)
        else:
            log.warning("%s is %s now; the former name works for one release more", old, new)
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
