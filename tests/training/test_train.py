"""Runs of the real Xception on a few pictures, through the command line where that matters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.server import ROOT
from training import model as classifier
from training.errors import RunError
from training.run import Run

EPOCHS = 3


def command(data: Path, output: Path, *more: str) -> list[str]:
    settings = ["--epochs", str(EPOCHS), "--batch-size", "8", "--seed", "3", "--held-out", "0.25", "--no-flip"]
    return [sys.executable, "-m", "training", "train", "--data", str(data), "--output", str(output), *settings, *more]


def train(data: Path, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(data, output, *more), cwd=ROOT, capture_output=True, text=True, check=False)


def interrupt(data: Path, output: Path, kind: signal.Signals) -> tuple[int, str]:
    """Train until the first checkpoint is there, then send a signal in the middle of the second epoch."""
    process = subprocess.Popen(command(data, output, "--resume"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    until = time.monotonic() + 120
    while Run(output).progress().epochs < 1:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, kind)
    code = process.wait(60)
    return code, process.stderr.read()


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    output = tmp_path_factory.mktemp("whole") / "run"
    done = train(folder, output)
    assert done.returncode == 0, done.stderr
    assert "Epoch 3 of 3: loss" in done.stdout
    return Run(output)


def test_a_finished_run_holds_its_model_and_nothing_half_done(whole: Run) -> None:
    assert sorted(path.name for path in whole.folder.iterdir()) == ["config.json", "model.keras", "progress.json"]
    assert whole.progress().epochs == EPOCHS
    network = classifier.load(whole.model)
    assert network.output_shape == (None, 2)
    momenta = {layer.momentum for layer in network.layers if "BatchNormalization" in type(layer).__name__}
    assert momenta == {classifier.MOMENTUM}


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_resumed_is_as_never_interrupted(whole: Run, folder: Path, tmp_path: Path, kind: signal.Signals) -> None:
    output = tmp_path / "run"
    code, text = interrupt(folder, output, kind)
    if kind == signal.SIGINT:
        assert code == 130
        assert "of 3 epochs are kept. Go on with the same command and --resume." in text
        assert "Traceback" not in text
    assert 1 <= Run(output).progress().epochs < EPOCHS
    refused = train(folder, output)
    assert refused.returncode == 2
    assert "go on with --resume" in refused.stderr
    done = train(folder, output, "--resume")
    assert done.returncode == 0, done.stderr
    resumed = Run(output)
    for ours, theirs in zip(resumed.progress().history, whole.progress().history, strict=True):
        assert ours.model_dump(exclude={"seconds"}) == pytest.approx(theirs.model_dump(exclude={"seconds"}), rel=1e-4)
    one, other = classifier.load(resumed.model), classifier.load(whole.model)
    assert int(one.optimizer.iterations) == int(other.optimizer.iterations) == EPOCHS * 2
    for mine, yours in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-3, atol=1e-5)


def test_training_again_says_that_it_is_done(whole: Run, folder: Path) -> None:
    done = train(folder, whole.folder)
    assert done.returncode == 0
    assert "trained already" in done.stdout


def test_other_settings_are_refused_by_name(whole: Run, folder: Path) -> None:
    done = train(folder, whole.folder, "--resume", "--seed", "4")
    assert done.returncode == 2
    assert "was begun with seed 3, not 4" in done.stderr
    assert "Traceback" not in done.stderr


def test_changed_data_is_noticed(folder: Path, tmp_path: Path) -> None:
    from training.train import make_config

    pictures = tmp_path / "pictures"
    for path in folder.rglob("*.png"):
        target = pictures / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    run = Run(tmp_path / "run")
    run.begin(
        make_config(
            data=str(pictures),
            image_size=71,
            epochs=1,
            batch_size=8,
            learning_rate=1e-3,
            seed=0,
            held_out=0.25,
            flip=False,
            weights=None,
        )
    )
    assert len(run.split().held_out) == 6
    next(pictures.rglob("*.png")).unlink()
    with pytest.raises(RunError, match="has changed since"):
        run.split()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "--data", "/nowhere", "--output", "/tmp/x"], "give 'digits', a folder"),
        (["train", "--data", "digits", "--output", "/tmp/x", "--epochs", "0"], "whole number from 1 to 10000"),
        (["train", "--data", "digits", "--output", "/tmp/x", "--image-size", "70"], "whole number from 71 to 1024"),
        (
            ["train", "--data", "digits", "--output", "/tmp/x", "--seed", str(2**32)],
            "whole number from 0 to 4294967295",
        ),
        (["train", "--data", "digits", "--output", "/tmp/x", "--held-out", "1"], "number between 0 and 1"),
        (["evaluate", "/nowhere"], "holds no training run"),
        (["export", "/nowhere", "--output", "/tmp/x"], "there is no such run or file"),
        (["package-imagenet", "--weights", "/nowhere.h5", "--output", "/tmp/x"], "there is no such file"),
        (["train", "--data", "digits"], "--output"),
    ],
)
def test_mistakes_get_one_clear_line(arguments: list[str], text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_learned_nothing_can_begin_again_with_other_settings(folder: Path, tmp_path: Path) -> None:
    """The advice after a failed download is to pass a file; the run must take it."""
    for name in ("first.h5", "second.h5"):
        (tmp_path / name).write_bytes(b"no weights")
        done = train(folder, tmp_path / "run", "--weights", str(tmp_path / name))
        assert done.returncode == 1
        assert f"{name}: not the weights of this network" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_made_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = train(folder, tmp_path / "file" / "run")
    assert done.returncode == 1
    assert "file/run: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr
