"""Checks that every image of the service must pass, however it was built."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.faulty_service import is_eight
from tests.faults.traffic import Traffic

from .podman import Container


def best(container: Container, image: Path) -> str:
    """Return the predicted class of an image."""
    response = container.client.post("/classify", content=image.read_bytes())
    assert response.status_code == 200, response.text
    name: str = response.json()["predictions"][0]["name"]
    return name


def recognises_digits(container: Container, golden: Sequence[Path]) -> bool:
    """Return whether each of the ten digits is classified correctly."""
    return [best(container, image) for image in golden] == [str(number) for number in range(10)]


def stop_under_load(container: Container, eight: bytes) -> None:
    """Stop a container under load, and check that it exits by itself and completes all accepted requests."""
    with Traffic(container.url, eight, is_eight) as traffic:
        traffic.wait_for_answers(50)
        at = time.monotonic()
        stopping = threading.Thread(target=container.stop)
        stopping.start()
        traffic.stop_asking()
        stopping.join()
    tally = traffic.tally
    assert container.state("ExitCode") == "0", container.log
    assert (tally.refused, tally.failed, tally.wrong) == (0, 0, 0), tally
    assert not [began for began in traffic.lost_began if began < at], tally
