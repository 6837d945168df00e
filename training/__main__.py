"""The command line of training; `python -m training --help`.

Imports Keras only once a command needs it, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import RunError, TrainingError

EPOCHS = 4
"""Enough for the digits to be recognised in at least 97 of 100 cases."""

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 failed, 2 cannot be meant, 130 interrupted."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except TrainingError as error:
        print(f"python -m training: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"python -m training: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{_after_interrupt(options)}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _after_interrupt(options: argparse.Namespace) -> str:
    if options.command is not _train:
        return "Interrupted; nothing half-written is left."
    from .run import Run

    done = Run(options.output).progress().epochs
    return f"Interrupted; {done} of {options.epochs} epochs are kept. Go on with the same command and --resume."


def _load_keras() -> None:
    """Import what takes seconds, and keep TensorFlow's greetings, which heed no setting, off the terminal."""
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


def _train(options: argparse.Namespace) -> None:
    _load_keras()
    from .run import Run
    from .train import make_config, train

    config = make_config(
        data=options.data,
        image_size=options.image_size,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        held_out=options.held_out,
        flip=options.flip if options.flip is not None else options.data != "digits",
        weights=None if options.weights == "none" else options.weights,
    )
    run = Run(options.output)
    if run.finished and run.started and run.config() == config:
        print(f"{run.model}: trained already")
        return
    progress = train(run, config, resume=options.resume)
    print(f"{run.model}: {progress.history[-1].held_out_accuracy:.2%} of the held-out pictures recognised")


def _evaluate(options: argparse.Namespace) -> None:
    _load_keras()
    from .evaluate import evaluate
    from .report import sentences
    from .run import Run

    run = Run(options.run)
    evaluation = evaluate(run)
    print(f"{evaluation.accuracy:.2%} of {evaluation.examples} held-out pictures recognised.")
    for sentence in sentences(evaluation):
        print(f"  {sentence}")
    print(f"Read more in {run.folder / 'evaluation.html'}")


def _export(options: argparse.Namespace) -> None:
    path: Path = options.source
    if not path.exists():
        raise RunError(f"{path}: there is no such run or file")
    a_run = (path / "config.json").is_file()
    if a_run and (options.classes or options.examples):
        raise RunError(
            f"{path}: is a run, which has its own classes and held-out pictures; leave --classes and --examples"
        )
    if path.is_dir() and not a_run:
        if (path / "model.keras").is_file():  # A packaged model: its SavedModel scales already.
            path = path / "model.keras"
        elif not (path / "saved_model.pb").is_file():
            raise RunError(f"{path}: is no training run and no SavedModel")
    _load_keras()
    from . import export, source

    export.check_output(options.output, overwrite=options.overwrite)
    made = source.from_run(path) if a_run else source.from_file(path, options.classes, options.examples)
    _package(made, options)


def _package_imagenet(options: argparse.Namespace) -> None:
    if options.weights != "imagenet" and not Path(options.weights).is_file():
        raise RunError(f"--weights {options.weights}: there is no such file")
    _load_keras()
    from . import source

    _package(source.from_imagenet(options.weights, options.classes), options)


def _package(made: object, options: argparse.Namespace) -> None:
    from .export import export
    from .source import Source

    assert isinstance(made, Source)
    manifest = export(made, options.output, overwrite=options.overwrite, calibration_images=options.calibration_images)
    for variant in manifest.variants:
        accuracy = "accuracy not measured" if variant.accuracy is None else f"accuracy {variant.accuracy:.2%}"
        size = sum(manifest.file(path).size for path in variant.files)
        print(f"  {variant.name}: {size / 1e6:.1f} MB, {accuracy}")
    print(f"{options.output}: packaged; publish it with: python -m model_store publish {options.output} --store URL …")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return whole_number


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low < value < high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number between {low:g} and {high:g}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Train, evaluate and package Xception.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    formatter = argparse.ArgumentDefaultsHelpFormatter

    train = commands.add_parser(
        "train", help="train a classifier, keeping a checkpoint after each epoch", formatter_class=formatter
    )
    train.set_defaults(command=_train)
    train.add_argument(
        "--data",
        required=True,
        help="'digits' (comes with scikit-learn), a folder with a sub-folder for each class, "
        'or a file of lines {"image": {"b64": "…"}, "label": "…"}',
    )
    train.add_argument("--output", required=True, type=Path, metavar="RUN", help="folder of the run")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    train.add_argument("--epochs", type=_whole(1, 10_000), default=EPOCHS, help="times to go through the pictures")
    train.add_argument("--image-size", type=_whole(71, 1024), default=71, help="height and width that the model takes")
    train.add_argument("--batch-size", type=_whole(2, 4096), default=32, help="pictures a step")
    train.add_argument("--learning-rate", type=_between(0, 1), default=1e-3, help="highest rate of Adam")
    train.add_argument(
        "--seed", type=_whole(0, 2**32 - 1), default=0, help="of the split and of all chance in training"
    )
    train.add_argument("--held-out", type=_between(0, 1), default=0.2, help="share of each class kept for evaluation")
    train.add_argument("--weights", default="none", help="start from 'none', 'imagenet', or a file of Xception weights")
    train.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="mirror pictures at random; unless said otherwise done for all data but the digits",
    )

    evaluate = commands.add_parser("evaluate", help="measure a run on the pictures it has not seen")
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")

    export = commands.add_parser("export", help="package a model as the folder of a version")
    export.set_defaults(command=_export)
    export.add_argument(
        "source",
        type=Path,
        metavar="RUN|MODEL",
        help="a finished run; or a .keras file, a whole-model .h5 file or a SavedModel that takes pixels from -1 to 1",
    )
    export.add_argument("--examples", help="of a MODEL: labelled pictures it was not trained on, as --data of train")

    package = commands.add_parser("package-imagenet", help="package Keras' ImageNet Xception")
    package.set_defaults(command=_package_imagenet)
    package.add_argument("--weights", default="imagenet", help="'imagenet' to download them, or a file")

    for command in (export, package):
        command.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to make")
        command.add_argument("--classes", type=Path, metavar="FILE", help="class names, one a line")
        command.add_argument(
            "--calibration-images",
            type=_whole(0, 100_000),
            default=300,
            metavar="N",
            help="pictures that int8 takes its ranges from, at most (default: 300); 0 leaves int8 out",
        )
        command.add_argument("--overwrite", action="store_true", help="replace DIR if it exists")
    return parser


if __name__ == "__main__":
    sys.exit(main())
