"""The way of the tutorials: Flask's own server in threads, and `keras.Model.predict` in float32."""

from __future__ import annotations

import base64
import io
import logging

import keras
import numpy as np
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from PIL import Image

from .task import Task

TASK = Task.from_environment()
app = Flask(__name__)
network = keras.models.load_model(TASK.keras)


@app.post(TASK.path)
def predict() -> ResponseReturnValue:
    """Respond to a predict request of TensorFlow Serving."""
    images = []
    for instance in request.get_json()["instances"]:
        image = Image.open(io.BytesIO(base64.b64decode(instance["b64"]))).convert("RGB")
        images.append(np.asarray(image.resize((TASK.width, TASK.height), Image.Resampling.BILINEAR)))
    pixels = keras.applications.xception.preprocess_input(np.stack(images).astype(np.float32))
    return jsonify(predictions=network.predict(pixels, verbose=0).tolist())


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # A line for each request would slow it down further.
    app.run(host="127.0.0.1", port=TASK.port, threaded=True)
