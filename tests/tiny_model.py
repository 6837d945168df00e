"""A version of a real but tiny model of the digits: pooling and logistic regression, an OpenVINO IR of 100 kB.

It is packaged as `python -m training export` packages Xception, in about a second and without Keras. The golden
scores are computed by NumPy, so that they are no echo of the engine that has to meet them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import (
    MANIFEST_NAME,
    Evaluation,
    Golden,
    InputContract,
    Manifest,
    ManifestFile,
    Signature,
    Tensor,
    Variant,
)
from training.data import DIGITS, load, split

SIDE = 71
"""Height and width of the input, in pixels: those of the demo model."""

GRID = 8
"""Height and width of what the pixels are pooled to."""

XCEPTION_WORK = 4
"""So many convolutions take about as long as Xception does: 8 ms an image on two cores with AVX-512."""

_CHANNELS = 64
"""Of those convolutions; one takes 0.4 GFLOP an image."""


def write_tiny_version(folder: Path, work: int = 0) -> None:
    """Train the model and package it, with the classes and a golden image of each as the demo has them.

    Args:
        folder: Where to write; must not exist.
        work: Convolutions that each image passes through without effect on its scores.
    """
    digits = split(load(DIGITS), held_out=0.2, seed=0)
    train, held_out = digits.train.pixels(SIDE, SIDE), digits.held_out.pixels(SIDE, SIDE)
    weight, bias = _fit(_pool(train), digits.train.labels)
    scores = _softmax(_pool(held_out) @ weight + bias)
    predicted = scores.argmax(axis=1)
    recognised = predicted == digits.held_out.labels
    # Of each class the first that is recognised, as export takes it.
    classes = digits.train.classes
    chosen = [int(np.flatnonzero(recognised & (predicted == label))[0]) for label in range(len(classes))]

    (folder / "golden").mkdir(parents=True)
    (folder / "openvino").mkdir()
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    images = tuple(f"golden/{number:02}.png" for number in range(len(chosen)))
    for path, index in zip(images, chosen, strict=True):
        (folder / path).write_bytes(digits.held_out.images[index])
    golden = Golden(images=images, pixels="golden/pixels.npy", scores="golden/scores.npy")
    np.save(folder / golden.pixels, held_out[chosen])
    np.save(folder / golden.scores, scores[chosen])
    _save_graph(folder / "openvino" / "fp32.xml", weight, bias, work)
    accuracy = float(recognised.mean())
    manifest = Manifest(
        created=datetime.now(UTC).replace(microsecond=0),
        architecture="pooling",
        input=InputContract(height=SIDE, width=SIDE),
        classes=classes,
        signatures=_signatures(len(classes)),
        files=tuple(_described(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()),
        variants=(
            Variant(
                engine="openvino",
                precision="fp32",
                path="openvino/fp32.xml",
                files=("openvino/fp32.xml", "openvino/fp32.bin"),
                accuracy=accuracy,
            ),
        ),
        golden=golden,
        evaluation=Evaluation(data=DIGITS, examples=len(held_out), accuracy=accuracy),
        provenance={"data": DIGITS, "seed": 0},
    )
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())


def _means() -> NDArray[np.float32]:
    """Return the matrix that takes means along a side, `float32 [GRID, SIDE]`."""
    edges = np.linspace(0, SIDE, GRID + 1)
    at = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    return (overlap.clip(0) * GRID / SIDE).astype(np.float32)


def _pool(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the graph pools `uint8 [n, SIDE, SIDE, 3]` to, `float32 [n, GRID × GRID]`."""
    grey = pixels.mean(axis=3, dtype=np.float32) / 255
    return (_means() @ grey @ _means().T).reshape(len(pixels), -1)


def _fit(features: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight and bias of a logistic regression, `float32 [features, classes]` and `[classes]`."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=100, max_iter=200).fit(features, labels)
    return fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _save_graph(path: Path, weight: NDArray[np.float32], bias: NDArray[np.float32], work: int) -> None:
    import openvino
    from openvino import opset13 as op

    pixels = op.parameter([-1, SIDE, SIDE, 3], np.uint8, name="pixels")
    scaled = op.divide(op.convert(pixels, "f32"), op.constant(np.float32(255)))
    grey = op.reduce_mean(scaled, op.constant([3]), keep_dims=False)
    means = _means()
    pooled = op.matmul(op.matmul(op.constant(means), grey, False, False), op.constant(means), False, True)
    features = op.reshape(pooled, op.constant([0, GRID * GRID]), special_zero=True)
    logits = op.add(op.matmul(features, op.constant(weight), False, False), op.constant(bias))
    if work:
        first = np.full((_CHANNELS, 1, 1, 1), 1, np.float32)
        again = np.full((_CHANNELS, _CHANNELS, 3, 3), 1 / (9 * _CHANNELS), np.float32)
        image = op.unsqueeze(grey, op.constant([1]))
        same = {"strides": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
        worked = op.convolution(image, op.constant(first), **{**same, "pads_begin": [0, 0], "pads_end": [0, 0]})
        for _ in range(work):
            worked = op.convolution(worked, op.constant(again), **same)
        mean = op.reduce_mean(worked, op.constant([2, 3]), keep_dims=False)
        # Too little to change a logit, yet nothing that OpenVINO could fold away.
        nothing = op.multiply(op.reduce_mean(mean, op.constant([1]), keep_dims=True), op.constant(np.float32(1e-30)))
        logits = op.add(logits, nothing)
    model = openvino.Model([op.softmax(logits, axis=1)], [pixels], "tiny")
    openvino.save_model(model, path, compress_to_fp16=False)


def _signatures(classes: int) -> dict[str, Signature]:
    """Describe the signatures that every exported model has."""
    strings = Tensor(dtype="DT_STRING", shape=(-1,))
    scores = Tensor(dtype="DT_FLOAT", shape=(-1, classes))
    names = Tensor(dtype="DT_STRING", shape=(-1, classes))
    pixels = Tensor(dtype="DT_UINT8", shape=(-1, SIDE, SIDE, 3))
    return {
        "serving_default": Signature(inputs={"image_bytes": strings}, outputs={"scores": scores}),
        "pixels": Signature(inputs={"pixels": pixels}, outputs={"scores": scores}),
        "classify_images": Signature(
            inputs={"inputs": strings}, outputs={"classes": names, "scores": scores}, method="classify"
        ),
    }


def _described(folder: Path, path: Path) -> ManifestFile:
    data = path.read_bytes()
    return ManifestFile(
        path=path.relative_to(folder).as_posix(), size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
