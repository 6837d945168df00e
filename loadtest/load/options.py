"""The options of a load test: on the command line, through `make loadtest`, or in the form of Locust's page."""

from __future__ import annotations

import argparse
import os
import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .arrivals import Arrivals
from .requests import Content
from .scenarios import SCENARIOS, Loop, Scenario


def read_seconds(text: object) -> object:
    """Return the seconds of `90`, `90s`, `15m` or `1h30m`."""
    found = re.fullmatch(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", str(text).strip())
    if found is None:
        raise ValueError("is no duration; give it as 90, 90s, 15m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


class LoadOptions(BaseModel):
    """The options; 0 and `auto` stand for the default of the scenario."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scenario: str = "single"
    requests: Literal["auto"] | Content = "auto"
    arrivals: Literal["auto"] | Loop = "auto"
    rate: float = Field(0.0, ge=0, allow_inf_nan=False)
    clients: int = Field(0, ge=0, le=10_000)
    duration: Annotated[float, BeforeValidator(read_seconds)] = Field(0.0, ge=0)
    warm_up: Annotated[float, BeforeValidator(read_seconds)] = Field(3.0, gt=0)
    max_in_flight: int = Field(512, ge=1, le=10_000)
    answer_timeout: float = Field(35.0, gt=0)
    seed: str = "1"
    model: str = "xception"
    objectives: str = "loadtest/objectives.toml"
    report: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scenario not in SCENARIOS:
            raise ValueError(f"scenario: {self.scenario!r} is none of {', '.join(SCENARIOS)}")
        if self.arrivals == "closed" and self.defaults.needs_schedule:
            raise ValueError(f"arrivals: {self.scenario} needs constant or poisson")
        if self.rate and self.closed:
            raise ValueError("rate: needs arrivals constant or poisson; in a closed loop CLIENTS sets the load")
        if self.clients and not self.closed:
            raise ValueError("clients: needs arrivals closed; in an open loop RATE sets the load")
        return self

    @property
    def defaults(self) -> Scenario:
        """Return the scenario."""
        return SCENARIOS[self.scenario]

    @property
    def content(self) -> Content:
        """Return the content of the requests."""
        return self.defaults.content if self.requests == "auto" else self.requests

    @property
    def loop(self) -> Loop:
        """Return how requests arrive."""
        return self.defaults.loop if self.arrivals == "auto" else self.arrivals

    @property
    def closed(self) -> bool:
        """Return whether each client waits for its response before the next request."""
        return self.loop == "closed"

    @property
    def schedule(self) -> Arrivals:
        """Return the distribution of the requests of an open loop."""
        return "constant" if self.loop == "constant" else "poisson"

    @property
    def seconds(self) -> float:
        """Return how long the load is measured."""
        return self.duration or self.defaults.seconds

    @property
    def clients_count(self) -> int:
        """Return the number of clients of a closed loop."""
        return self.clients or self.defaults.clients

    @property
    def requests_a_second(self) -> float:
        """Return the rate; 0 in a closed loop."""
        return 0.0 if self.closed else self.rate or self.defaults.rate


def read_options(namespace: argparse.Namespace) -> LoadOptions:
    """Return the options among those of the command line.

    Raises:
        ValueError: One line that names the option and the reason.
    """
    try:
        return LoadOptions.model_validate(vars(namespace))
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Return the first thing that is wrong, in one line, after the name of the field."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    return f"{field}: {text}" if field else text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser, that of Locust too; what is there appears in the form of its page."""
    scenarios = "; ".join(f"{name}: {scenario.about}" for name, scenario in SCENARIOS.items())
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="single", help=scenarios)
    parser.add_argument(
        "--requests",
        choices=("auto", "single", "instances", "photos", "mixed"),
        default="auto",
        help="What burst, ramp and soak ask (auto: as the scenario says)",
    )
    parser.add_argument(
        "--arrivals",
        choices=("auto", "closed", "constant", "poisson"),
        default="auto",
        help="closed: each client waits for its answer; constant, poisson: by a schedule, whatever the service does",
    )
    parser.add_argument("--rate", type=float, default=0.0, help="Requests a second of a schedule (0: the scenario's)")
    parser.add_argument("--clients", type=int, default=0, help="Clients of a closed loop (0: the scenario's)")
    parser.add_argument(
        "--duration",
        default="0",
        help="How long the load is counted, as in 90s, 15m; of a ramp each step (0: the scenario's)",
    )
    parser.add_argument(
        "--warm-up", default="3s", help="How long it runs before it is counted; of a ramp before each step"
    )
    parser.add_argument(
        "--max-in-flight",
        type=int,
        default=512,
        help="Requests under way at once; what is due beyond counts as not sent",
    )
    parser.add_argument("--answer-timeout", type=float, default=35.0, help="Seconds that an answer may take")
    parser.add_argument("--seed", default="1", help="The same seed gives the same times and images")
    parser.add_argument("--model", default=os.environ.get("MODEL_NAME", "xception"), help="The model's name in URLs")
    parser.add_argument("--objectives", default="loadtest/objectives.toml", help="The file of objectives")
    parser.add_argument("--report", default="", help="Folder of the report (.local/loadtest/TIME-SCENARIO)")
