"""Metrics, report, and the files of `python -m training evaluate`."""

from __future__ import annotations

import io
import re
import shutil
from base64 import b64decode
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import model as classifier
from training.__main__ import main
from training.errors import RunError
from training.evaluate import Evaluation, compute_metrics, evaluate
from training.report import confusion_image, html_page, sentences
from training.run import Run
from training.train import predict

from .commands import EPOCHS, run_here


def measured(classes: tuple[str, ...] = ("a", "b", "c"), data: str = "letters") -> Evaluation:
    """Return the metrics where one of three a is classified as b, both b correctly, and the only c as b."""
    return compute_metrics(data, classes, np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1, 1]))


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    image.load()
    return image


class Cells(HTMLParser):
    """Collects the text of each cell of each row, as a browser would show it."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        self._inside = tag == "td"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    evaluation = measured()
    assert evaluation.confusion == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert (evaluation.data, evaluation.examples) == ("letters", 6)
    assert evaluation.accuracy == pytest.approx(4 / 6)


def test_metrics_of_each_class() -> None:
    a, b, c = measured().classes
    assert (a.name, a.support, a.true_positives, a.false_positives, a.false_negatives) == ("a", 3, 2, 0, 1)
    assert (b.name, b.support, b.true_positives, b.false_positives, b.false_negatives) == ("b", 2, 2, 2, 0)
    assert (c.name, c.support, c.true_positives, c.false_positives, c.false_negatives) == ("c", 1, 0, 0, 1)
    assert (a.precision, a.recall, a.f1) == pytest.approx((1, 2 / 3, 0.8))
    assert (b.precision, b.recall, b.f1) == pytest.approx((0.5, 1, 2 / 3))
    assert (c.precision, c.recall, c.f1) == (None, 0, 0)  # Nothing was classified as c, so precision is undefined.


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(5), generator.integers(0, 5, 95)])
    predicted = np.where(generator.random(100) < 0.6, labels, generator.integers(0, 5, 100))
    evaluation = compute_metrics("x", tuple("abcde"), labels, predicted)
    assert evaluation.confusion == confusion_matrix(labels, predicted).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted)
    assert [one.precision for one in evaluation.classes] == pytest.approx(precision)
    assert [one.recall for one in evaluation.classes] == pytest.approx(recall)
    assert [one.f1 for one in evaluation.classes] == pytest.approx(f1)
    assert [one.support for one in evaluation.classes] == support.tolist()


def test_sentences_have_plain_counts() -> None:
    labels = np.repeat([0, 1, 2, 3], [36, 8, 5, 2])
    predicted = np.array([0] * 30 + [1] + [2] * 2 + [3] * 3 + [1] * 7 + [0] + [2] * 5 + [3] * 2)
    assert sentences(compute_metrics("x", ("8", "9", "0", "1"), labels, predicted)) == [
        "Of 36 images of “8”, 3 were classified as “1”, 2 were classified as “0”, 1 was classified as “9”.",
        "Of 8 images of “9”, 1 was classified as “8”.",
        "All images of these classes were classified correctly: “0” (5), “1” (2).",
    ]
    always_wrong = compute_metrics("x", ("a", "b"), np.array([0, 1]), np.array([1, 0]))
    assert sentences(always_wrong) == ["Of 1 images of “a”, 1 was classified as “b”.", sentences(always_wrong)[1]]
    assert not any("All images" in sentence for sentence in sentences(always_wrong))


def test_the_page_is_self_contained_and_escapes_names() -> None:
    classes = ("<b>", 'R&D "x"', "</td><script>")
    evaluation = measured(classes, data="<i>letters</i>")
    image = confusion_image(evaluation.confusion, classes)
    text = html_page(evaluation, image)
    read = Cells()
    read.feed(text)
    assert not {"b", "i", "script"} & read.tags
    assert [row for row in read.rows if row] == [
        ["<b>", "3", "2", "1", "0", "1.000", "0.667", "0.800"],
        ['R&D "x"', "2", "2", "0", "2", "0.500", "1.000", "0.667"],
        ["</td><script>", "1", "0", "1", "0", "–", "0.000", "0.000"],
    ]
    assert "Of 6 images of &lt;i&gt;letters&lt;/i&gt; that the model was not trained on" in text
    assert re.search(r"it classified 4 correctly: an accuracy of 66\.67%", text)
    for sentence in sentences(evaluation):
        assert f"<li>{escape(sentence)}</li>" in text
    assert embedded(text) == image
    assert opened(embedded(text)).size == opened(image).size
    assert not re.search(r'(src|href)="(?!data:)', text)  # No other file is needed.


def embedded(text: str) -> bytes:
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return b64decode(source, validate=True)


def test_the_image_has_class_names_only_if_there_are_few() -> None:
    few, many = np.eye(3, dtype=int).tolist(), np.eye(60, dtype=int).tolist()
    small, large = confusion_image(few, ["a", "b", "c"]), confusion_image(many, [f"a{n}" for n in range(60)])
    assert small != confusion_image(few, ["a", "b", "d"])
    assert large == confusion_image(many, [f"b{n}" for n in range(60)])
    width, height = opened(small).size
    assert width == height >= 300
    assert width < opened(large).size[0] <= 2000


def test_rows_of_the_image_are_true_classes() -> None:
    confusion = np.zeros((60, 60), int)
    confusion[range(6), range(54, 60)] = 1  # The first classes are classified as the last ones: top right.
    pixels = np.asarray(opened(confusion_image(confusion.tolist(), [""] * 60)).convert("RGB")).astype(int)
    blue = np.argwhere(pixels[..., 2] - pixels[..., 0] > 40)
    assert len(blue) > 100
    down, right = blue.mean(axis=0) / pixels.shape[:2]
    assert down < 0.3
    assert right > 0.7


def test_a_dollar_sign_in_a_name_starts_no_formula() -> None:
    names = ["US$ to CA$", r"$\frac$", "c"]
    opened(confusion_image(measured().confusion, names))


@pytest.fixture(scope="module")
def finished(whole: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of a finished run; six of its images are held out."""
    return Run(shutil.copytree(whole.folder, tmp_path_factory.mktemp("evaluate") / "run"))


def test_evaluate_writes_three_files_that_agree(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_here(capsys, "evaluate", str(finished.folder))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        "config.json",
        "confusion.png",
        "evaluation.html",
        "evaluation.json",
        "model.keras",
        "progress.json",
    ]
    evaluation = Evaluation.model_validate_json(finished.evaluation.read_bytes())
    held_out = finished.split().held_out
    scores = predict(classifier.load(finished.model), held_out.pixels(71, 71))
    assert evaluation == compute_metrics(finished.config().data, ("0", "1"), held_out.labels, scores.argmax(axis=1))
    assert evaluation.examples == 6
    assert evaluation.accuracy == pytest.approx(finished.progress().history[-1].held_out_accuracy)
    assert done.stdout.splitlines() == [
        f"Accuracy {evaluation.accuracy:.2%} on 6 held-out images.",
        *(f"  {sentence}" for sentence in sentences(evaluation)),
        f"Report: {finished.folder / 'evaluation.html'}",
    ]
    image = (finished.folder / "confusion.png").read_bytes()
    opened(image)
    assert (finished.folder / "evaluation.html").read_text(encoding="utf-8") == html_page(evaluation, image)


def test_an_unfinished_run_is_rejected(finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(finished.folder / "config.json", tmp_path)
    assert main(["evaluate", str(tmp_path)]) == 2
    expected = f"python -m training: {tmp_path}: 0 of {EPOCHS} epochs are done; continue with: python -m training train"
    assert capsys.readouterr().err.splitlines()[-1].startswith(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_changed_data_is_rejected(finished: Run, tmp_path: Path) -> None:
    config = finished.config()
    changed = tmp_path / "run"
    shutil.copytree(finished.folder, changed)
    other = tmp_path / "images"
    shutil.copytree(config.data, other)
    Run(changed).begin(config.model_copy(update={"data": str(other)}))
    evaluate(Run(changed))
    next(other.rglob("*.png")).unlink()
    with pytest.raises(RunError, match="has changed since"):
        evaluate(Run(changed))
