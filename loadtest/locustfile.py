"""Callers of the service, for Locust: `make loadtest`, or `locust -f loadtest/locustfile.py --host URL` for its page.

Name users on the command line to run only those: `locust -f loadtest/locustfile.py SingleImage`.
"""

from __future__ import annotations

import os
import random
from typing import Any

from locust import FastHttpUser, constant, task

from loadtest.pictures import SIZES, jpegs, predict_body

WEB = SIZES[1]
MODEL = os.environ.get("MODEL_NAME", "xception")


class Caller(FastHttpUser):
    """Asks again as soon as it has its answer, and looks at what it got."""

    abstract = True
    wait_time = constant(0)

    def ask(self, name: str, path: str, body: bytes, content_type: str, images: int) -> None:
        """Send a request and count it as failed unless it brings an answer for each image.

        Args:
            name: What the request is called in the report.
            path: Where to.
            body: What to send.
            content_type: What it is.
            images: How many answers must come back.
        """
        headers = {"Content-Type": content_type}
        with self.client.post(path, data=body, headers=headers, name=name, catch_response=True) as response:  # type: ignore[arg-type]
            if response.status_code != 200:
                response.failure(f"{response.status_code} {(response.text or '')[:200]}")
                return
            answer: dict[str, Any] = response.json()
            if len(answer["predictions"]) < images:
                response.failure(f"{len(answer['predictions'])} answers for {images} images")


class SingleImage(Caller):
    """Sends one picture of a web page, in base64, as TensorFlow Serving's clients do."""

    weight = 6

    @task
    def predict(self) -> None:
        """Ask for the scores of one image."""
        self.ask("single", f"/v1/models/{MODEL}:predict", predict_body(WEB, 1), "application/json", 1)


class SeveralInstances(Caller):
    """Sends eight pictures in one request."""

    weight = 1

    @task
    def predict(self) -> None:
        """Ask for the scores of eight images."""
        self.ask("eight instances", f"/v1/models/{MODEL}:predict", predict_body(WEB, 8), "application/json", 8)


class MixedSizes(Caller):
    """Sends pictures from a thumbnail to 12 megapixels, raw."""

    weight = 3

    @task
    def classify(self) -> None:
        """Ask for the best classes of one image of any size."""
        size = random.choice(SIZES)
        self.ask(f"{size[0]} × {size[1]}", "/classify", random.choice(jpegs(size)), "image/jpeg", 1)
