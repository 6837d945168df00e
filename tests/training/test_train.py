"""Training of a small network on a few images, partly through the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.server import ROOT
from training import model as classifier
from training.errors import RunError
from training.run import Run
from training.train import make_config

from .commands import EPOCHS, command, run_here, train_arguments


def interrupt(data: Path, output: Path, kind: signal.Signals, after: int) -> tuple[int, str]:
    """Train until a number of epochs is finished, then send a signal during the next one."""
    process = subprocess.Popen(command(data, output, "--resume"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while Run(output).progress().epochs < after:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    os.kill(process.pid, kind)
    code = process.wait(60)
    return code, process.stderr.read()


def test_a_finished_run_has_a_model_and_no_partial_files(whole: Run) -> None:
    assert sorted(path.name for path in whole.folder.iterdir()) == ["config.json", "model.keras", "progress.json"]
    assert whole.progress().epochs == EPOCHS
    network = classifier.load(whole.model)
    assert network.output_shape == (None, 2)


def expect_advice_to_resume(capsys: pytest.CaptureFixture[str], folder: Path, output: Path) -> None:
    done = run_here(capsys, *train_arguments(folder, output))
    assert done.returncode == 2
    assert "continue with --resume" in done.stderr


@pytest.mark.usefixtures("small")
def test_a_resumed_run_equals_an_uninterrupted_one(
    whole: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Send Ctrl-C during the second epoch, resume, and kill the process during the third."""
    output = tmp_path / "run"
    code, text = interrupt(folder, output, signal.SIGINT, after=1)
    assert code == 130
    assert "of 3 epochs. Run the same command with --resume to continue." in text
    assert "Traceback" not in text
    assert 1 <= Run(output).progress().epochs < EPOCHS
    expect_advice_to_resume(capsys, folder, output)
    code, _ = interrupt(folder, output, signal.SIGKILL, after=2)
    assert code == -signal.SIGKILL
    assert Run(output).progress().epochs == 2
    expect_advice_to_resume(capsys, folder, output)
    done = run_here(capsys, *train_arguments(folder, output, "--resume"))
    assert done.returncode == 0, done.stderr
    assert f"Epoch {EPOCHS} of {EPOCHS}: loss " in done.stdout
    resumed = Run(output)
    for ours, theirs in zip(resumed.progress().history, whole.progress().history, strict=True):
        assert ours.model_dump(exclude={"seconds"}) == pytest.approx(theirs.model_dump(exclude={"seconds"}), rel=1e-4)
    one, other = classifier.load(resumed.model), classifier.load(whole.model)
    assert int(one.optimizer.iterations) == int(other.optimizer.iterations) == EPOCHS * 2
    for mine, yours in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-3, atol=1e-5)


def test_a_finished_run_is_not_trained_again(whole: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_here(capsys, *train_arguments(folder, whole.folder))
    assert done.returncode == 0
    assert "already trained" in done.stdout


def test_different_settings_are_rejected_by_name(whole: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_here(capsys, *train_arguments(folder, whole.folder, "--resume", "--seed", "4"))
    assert done.returncode == 2
    assert "was started with seed 3, not 4" in done.stderr


def test_changed_data_is_detected(folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for path in folder.rglob("*.png"):
        target = images / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    run = Run(tmp_path / "run")
    run.begin(
        make_config(
            data=str(images),
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
    next(images.rglob("*.png")).unlink()
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
        (["evaluate", "/nowhere"], "contains no training run"),
        (["export", "/nowhere", "--output", "/tmp/x"], "no such run or file"),
        (["package-imagenet", "--weights", "/nowhere.h5", "--output", "/tmp/x"], "no such file"),
        (["train", "--data", "digits"], "--output"),
    ],
)
def test_usage_errors_have_a_message_of_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_here(capsys, *arguments)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.usefixtures("small")
def test_a_run_without_finished_epochs_accepts_other_settings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failed download the message advises to pass a file; the run must accept that."""
    for name in ("first.h5", "second.h5"):
        (tmp_path / name).write_bytes(b"no weights")
        done = run_here(capsys, *train_arguments(folder, tmp_path / "run", "--weights", str(tmp_path / name)))
        assert done.returncode == 1
        assert f"{name}: not the weights of this network" in done.stderr


def test_an_impossible_output_has_a_message_of_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    done = run_here(capsys, *train_arguments(folder, tmp_path / "file" / "run"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("file/run: Not a directory")
