"""The training loop; each epoch depends only on the seed and on the previous checkpoint.

The order of the examples, augmentation and dropout are seeded with `(seed, epoch)`, so a resumed run gives the same
result as an uninterrupted one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from . import model as classifier
from .augment import augment
from .data import load, split
from .errors import RunError
from .run import Epoch, Progress, Run, RunConfig, data_digest

_EVALUATION_BATCH = 64

Build = Callable[[int, int, str | None, int], keras.Model]
"""Builds a classifier from the image size in pixels, the number of classes, the pretrained weights, and the seed."""


def train(run: Run, config: RunConfig, *, resume: bool, build: Build = classifier.build) -> Progress:
    """Train until the last epoch, with a checkpoint after each.

    Args:
        run: The folder of the run.
        config: The settings; a resumed run needs the same as before.
        resume: Continue from the last checkpoint, if there is one.
        build: Builds the network of a new run.

    Returns:
        The metrics of all epochs.

    Raises:
        DataError: The data cannot be used.
        RunError: The run was started before, and `resume` is not set or the settings differ.
        WeightsError: The pretrained weights are not available.
    """
    _begin(run, config, resume=resume)
    progress = run.progress()
    if run.finished:
        return progress
    parts = split(load(config.data), config.held_out, config.seed)
    pixels, held_out = (
        parts.train.pixels(config.image_size, config.image_size),
        parts.held_out.pixels(config.image_size, config.image_size),
    )
    checkpoint = run.checkpoint(progress.epochs)
    network = classifier.load(checkpoint) if progress.epochs else _compiled_network(config, len(pixels), build)
    while progress.epochs < config.epochs:
        started = time.perf_counter()
        loss, accuracy = _train_epoch(network, config, progress.epochs, pixels, parts.train.labels)
        held_out_loss, held_out_accuracy = _evaluate(network, held_out, parts.held_out.labels)
        metrics = Epoch(
            loss=loss,
            accuracy=accuracy,
            held_out_loss=held_out_loss,
            held_out_accuracy=held_out_accuracy,
            seconds=time.perf_counter() - started,
        )
        progress = Progress(history=[*progress.history, metrics])
        run.save_checkpoint(progress, network.save)
        print(
            f"Epoch {progress.epochs} of {config.epochs}: loss {loss:.4f}, accuracy {accuracy:.4f}; "
            f"held out: loss {held_out_loss:.4f}, accuracy {held_out_accuracy:.4f} ({metrics.seconds:.0f} s)",
            flush=True,
        )
    run.finish(progress)
    return progress


def make_config(
    *,
    data: str,
    image_size: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    held_out: float,
    flip: bool,
    weights: str | None,
) -> RunConfig:
    """Load the data once, and return the settings of a run on it.

    Raises:
        DataError: The data cannot be used.
    """
    dataset = load(data)
    return RunConfig(
        data=data if not Path(data).exists() else str(Path(data).resolve()),
        data_sha256=data_digest(dataset),
        classes=dataset.classes,
        image_size=image_size,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        held_out=held_out,
        flip=flip,
        weights=weights if weights is None or not Path(weights).exists() else str(Path(weights).resolve()),
    )


def _begin(run: Run, config: RunConfig, *, resume: bool) -> None:
    if not run.finished and not run.progress().epochs:  # No epoch is finished, so nothing is lost.
        run.begin(config)
        return
    previous = run.config()
    if previous.data == config.data and previous.data_sha256 != config.data_sha256:
        raise RunError(f"{config.data}: has changed since {run.folder} was started; use another --output")
    for name in RunConfig.model_fields:
        if getattr(previous, name) != getattr(config, name):
            option = name.replace("_", "-")
            raise RunError(
                f"{run.folder}: was started with {option} {getattr(previous, name)!r}, not {getattr(config, name)!r}; "
                "use the same settings, or another --output"
            )
    if not resume and not run.finished:
        raise RunError(f"{run.folder}: contains an unfinished run; continue with --resume, or use another --output")


def _compiled_network(config: RunConfig, examples: int, build: Build) -> keras.Model:
    """Build the network with Adam.

    The learning rate warms up during one epoch, or a quarter of a run of fewer than four epochs, then decays as a
    cosine.
    """
    network = build(config.image_size, len(config.classes), config.weights, config.seed)
    steps = _steps(examples, config.batch_size)
    warmup = min(steps, steps * config.epochs // 4)
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 10,
        decay_steps=max(1, steps * config.epochs - warmup),
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    network.compile(
        keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # On a CPU XLA is several times slower.
    )
    return network


def _steps(examples: int, batch_size: int) -> int:
    """Return the number of full batches per epoch; the remaining examples are left out."""
    return max(1, examples // batch_size)


def _train_epoch(
    network: keras.Model, config: RunConfig, epoch: int, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Train one epoch, and return the mean training loss and accuracy."""
    generator = np.random.default_rng([config.seed, epoch])
    # Dropout increments its seed, so the seeds of successive epochs must be far apart.
    dropouts = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout) and layer.rate]
    states = np.random.SeedSequence([config.seed, epoch]).generate_state(2 * len(dropouts)).reshape(-1, 2)
    for dropout, state in zip(dropouts, states, strict=True):
        dropout.seed_generator.state.assign(state)
    order = generator.permutation(len(pixels))
    losses: list[float] = []
    accuracies: list[float] = []
    steps = range(_steps(len(pixels), config.batch_size))
    title = f"Epoch {epoch + 1} of {config.epochs}"
    with tqdm(steps, desc=title, unit="batch", leave=False, disable=not sys.stderr.isatty()) as bar:
        for step in bar:
            batch = order[step * config.batch_size : (step + 1) * config.batch_size]
            augmented = augment(pixels[batch], generator, flip=config.flip)
            network.reset_metrics()
            metrics = network.train_on_batch(classifier.scale(augmented), labels[batch], return_dict=True)
            losses.append(float(metrics["loss"]))
            accuracies.append(float(metrics["accuracy"]))
            bar.set_postfix(loss=f"{np.mean(losses):.3f}", accuracy=f"{np.mean(accuracies):.3f}")
    return float(np.mean(losses)), float(np.mean(accuracies))


def _evaluate(network: keras.Model, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[float, float]:
    scores = predict(network, pixels)
    probabilities = scores[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(probabilities, 1e-7)).mean()
    return float(loss), float((scores.argmax(axis=1) == labels).mean())


def predict(network: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
    batches = range(0, len(pixels), _EVALUATION_BATCH)
    return np.concatenate(
        [network.predict_on_batch(classifier.scale(pixels[at : at + _EVALUATION_BATCH])) for at in batches]
    )
