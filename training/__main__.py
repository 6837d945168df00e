"""The command line of training; `python -m training --help`.

Imports Keras only once a command needs it, so that help and usage errors are immediate.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import RunError, TrainingError

if TYPE_CHECKING:
    from .source import Source

PROGRAM = "python -m training"

EPOCHS = 4
"""Enough for an accuracy of at least 97 % on the digits."""

_PATH = click.Path(path_type=Path)

_INTERRUPTED = 130


class _WholeNumber(click.IntRange):
    """A whole number within a range, both ends included."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or reject the text with the range that is allowed."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number from {self.min} to {self.max}", param, ctx)


class _Share(click.ParamType[float]):
    """A number between 0 and 1, both ends excluded."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or reject the text."""
        try:
            share = float(value)
        except ValueError:
            share = float("nan")
        if not 0 < share < 1:
            self.fail(f"{value!r} is not a number between 0 and 1", param, ctx)
        return share


@click.group(
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120, "show_default": True},
)
def app() -> None:
    """Train, evaluate and package Xception."""


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Args:
        arguments: The arguments after the program's name; those of the process by default.
        program: The name of the program in help and error messages.
    """
    try:
        with app.make_context(program, list(sys.argv[1:] if arguments is None else arguments)) as context:
            app.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else program
        print(f"{program}: {error.format_message().rstrip('.')}; see {path} --help", file=sys.stderr)
        return error.exit_code
    except TrainingError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Interrupted; nothing half-written is left.'}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _load_keras() -> None:
    """Import Keras, which takes seconds, and hide what TensorFlow prints to stderr whatever its settings are."""
    print("Loading Keras …", file=sys.stderr, flush=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        try:
            import keras  # noqa: F401
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


@app.command()
@click.option(
    "--data",
    required=True,
    help="'digits' (comes with scikit-learn), a folder with a sub-folder for each class, "
    'or a file of lines {"image": {"b64": "…"}, "label": "…"}.',
)
@click.option("--output", required=True, type=_PATH, metavar="RUN", help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint, if there is one.")
@click.option("--epochs", type=_WholeNumber(1, 10_000), default=EPOCHS, help="Passes through the images.")
@click.option("--image-size", type=_WholeNumber(71, 1024), default=71, help="Height and width of the model's input.")
@click.option("--batch-size", type=_WholeNumber(2, 4096), default=32, help="Images per step.")
@click.option("--learning-rate", type=_Share(), default=1e-3, help="Highest rate of Adam.")
@click.option("--seed", type=_WholeNumber(0, 2**32 - 1), default=0, help="Seed of the split and of the training.")
@click.option("--held-out", type=_Share(), default=0.2, help="Share of each class kept for evaluation.")
@click.option("--weights", default="none", help="Start from 'none', 'imagenet', or a file of Xception weights.")
@click.option("--flip/--no-flip", default=None, help="Mirror images at random; by default for all data but the digits.")
def train(output: Path, resume: bool, epochs: int, flip: bool | None, weights: str, data: str, **settings: Any) -> None:
    """Train a classifier, keeping a checkpoint after each epoch."""
    from .run import Run

    run = Run(output)
    try:
        _load_keras()
        from .train import make_config
        from .train import train as train_run

        config = make_config(
            data=data,
            epochs=epochs,
            flip=flip if flip is not None else data != "digits",
            weights=None if weights == "none" else weights,
            **settings,
        )
        if run.finished and run.started and run.config() == config:
            print(f"{run.model}: trained already")
            return
        progress = train_run(run, config, resume=resume)
    except KeyboardInterrupt:
        done = run.progress().epochs
        raise KeyboardInterrupt(
            f"Interrupted; {done} of {epochs} epochs are kept. Go on with the same command and --resume."
        ) from None
    print(f"{run.model}: {progress.history[-1].held_out_accuracy:.2%} of the held-out pictures recognised")


@app.command()
@click.argument("run", type=_PATH, metavar="RUN", help="Folder of a finished run.")
def evaluate(run: Path) -> None:
    """Measure a run on its held-out images."""
    _load_keras()
    from .evaluate import evaluate as evaluate_run
    from .report import sentences
    from .run import Run

    finished = Run(run)
    evaluation = evaluate_run(finished)
    print(f"{evaluation.accuracy:.2%} of {evaluation.examples} held-out pictures recognised.")
    for sentence in sentences(evaluation):
        print(f"  {sentence}")
    print(f"Read more in {finished.folder / 'evaluation.html'}")


def _packaging_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the commands that package a model."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace DIR if it exists."),
        click.option(
            "--calibration-images",
            type=_WholeNumber(0, 100_000),
            default=300,
            metavar="N",
            help="Images to calibrate int8 with, at most; 0 leaves int8 out.",
        ),
        click.option("--classes", type=_PATH, metavar="FILE", help="Class names, one a line."),
        click.option("--output", required=True, type=_PATH, metavar="DIR", help="Folder to make."),
    ):
        command = option(command)
    return command


@app.command()
@click.argument(
    "path",
    type=_PATH,
    metavar="RUN|MODEL",
    help="A finished run; or a .keras file, a whole-model .h5 file or a SavedModel that takes pixels from -1 to 1.",
)
@click.option("--examples", help="For a MODEL: labelled images it was not trained on, as --data of train.")
@_packaging_options
def export(path: Path, examples: str | None, classes: Path | None, output: Path, **options: Any) -> None:
    """Package a model as the folder of a version."""
    if not path.exists():
        raise RunError(f"{path}: there is no such run or file")
    a_run = (path / "config.json").is_file()
    if a_run and (classes or examples):
        raise RunError(
            f"{path}: is a run, which has its own classes and held-out pictures; leave --classes and --examples"
        )
    if path.is_dir() and not a_run:
        if (path / "model.keras").is_file():  # A packaged model: its SavedModel scales already.
            path = path / "model.keras"
        elif not (path / "saved_model.pb").is_file():
            raise RunError(f"{path}: is no training run and no SavedModel")
    _load_keras()
    from . import source
    from .export import check_output

    check_output(output, overwrite=options["overwrite"])
    _package(source.from_run(path) if a_run else source.from_file(path, classes, examples), output, **options)


@app.command("package-imagenet")
@click.option("--weights", default="imagenet", help="'imagenet' to download them, or a file.")
@_packaging_options
def package_imagenet(weights: str, classes: Path | None, output: Path, **options: Any) -> None:
    """Package Keras' ImageNet Xception."""
    if weights != "imagenet" and not Path(weights).is_file():
        raise RunError(f"--weights {weights}: there is no such file")
    _load_keras()
    from . import source

    _package(source.from_imagenet(weights, classes), output, **options)


def _package(made: Source, output: Path, *, overwrite: bool, calibration_images: int) -> None:
    from .export import export as export_model

    manifest = export_model(made, output, overwrite=overwrite, calibration_images=calibration_images)
    for variant in manifest.variants:
        accuracy = "accuracy not measured" if variant.accuracy is None else f"accuracy {variant.accuracy:.2%}"
        size = sum(manifest.file(path).size for path in variant.files)
        print(f"  {variant.name}: {size / 1e6:.1f} MB, {accuracy}")
    print(f"{output}: packaged; publish it with: python -m model_store publish {output} --store URL …")


if __name__ == "__main__":
    sys.exit(main())
