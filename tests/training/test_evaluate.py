"""What is counted, how it is said, and what `python -m training evaluate` leaves behind."""

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
from training.evaluate import Evaluation, evaluate, measure
from training.report import confusion_picture, page, sentences
from training.run import Run
from training.train import predict

from .commands import EPOCHS, run_here


def measured(classes: tuple[str, ...] = ("a", "b", "c"), data: str = "letters") -> Evaluation:
    """Of three a one is taken for b, both b are found, the only c is taken for b; nothing is taken for c."""
    return measure(data, classes, np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1, 1]))


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


def test_a_row_is_what_a_picture_is_and_a_column_what_it_was_taken_for() -> None:
    evaluation = measured()
    assert evaluation.confusion == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert (evaluation.data, evaluation.examples) == ("letters", 6)
    assert evaluation.accuracy == pytest.approx(4 / 6)


def test_figures_of_each_class_are_counted() -> None:
    a, b, c = measured().classes
    assert (a.name, a.support, a.true_positives, a.false_positives, a.false_negatives) == ("a", 3, 2, 0, 1)
    assert (b.name, b.support, b.true_positives, b.false_positives, b.false_negatives) == ("b", 2, 2, 2, 0)
    assert (c.name, c.support, c.true_positives, c.false_positives, c.false_negatives) == ("c", 1, 0, 0, 1)
    assert (a.precision, a.recall, a.f1) == pytest.approx((1, 2 / 3, 0.8))
    assert (b.precision, b.recall, b.f1) == pytest.approx((0.5, 1, 2 / 3))
    assert (c.precision, c.recall, c.f1) == (None, 0, 0)  # Nothing was taken for c: there is no share to speak of.


def test_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(5), generator.integers(0, 5, 95)])
    predicted = np.where(generator.random(100) < 0.6, labels, generator.integers(0, 5, 100))
    evaluation = measure("x", tuple("abcde"), labels, predicted)
    assert evaluation.confusion == confusion_matrix(labels, predicted).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted)
    assert [one.precision for one in evaluation.classes] == pytest.approx(precision)
    assert [one.recall for one in evaluation.classes] == pytest.approx(recall)
    assert [one.f1 for one in evaluation.classes] == pytest.approx(f1)
    assert [one.support for one in evaluation.classes] == support.tolist()


def test_mistakes_are_said_in_plain_counts() -> None:
    labels = np.repeat([0, 1, 2, 3], [36, 8, 5, 2])
    predicted = np.array([0] * 30 + [1] + [2] * 2 + [3] * 3 + [1] * 7 + [0] + [2] * 5 + [3] * 2)
    assert sentences(measure("x", ("8", "9", "0", "1"), labels, predicted)) == [
        "Of 36 pictures of “8”, 3 were taken for “1”, 2 were taken for “0”, 1 was taken for “9”.",
        "Of 8 pictures of “9”, 1 was taken for “8”.",
        "All pictures of these classes were recognised: “0” (5), “1” (2).",
    ]
    always_wrong = measure("x", ("a", "b"), np.array([0, 1]), np.array([1, 0]))
    assert sentences(always_wrong) == ["Of 1 pictures of “a”, 1 was taken for “b”.", sentences(always_wrong)[1]]
    assert not any("All pictures" in sentence for sentence in sentences(always_wrong))


def test_the_page_holds_everything_and_escapes_names() -> None:
    classes = ("<b>", 'R&D "x"', "</td><script>")
    evaluation = measured(classes, data="<i>letters</i>")
    picture = confusion_picture(evaluation.confusion, classes)
    text = page(evaluation, picture)
    read = Cells()
    read.feed(text)
    assert not {"b", "i", "script"} & read.tags
    assert [row for row in read.rows if row] == [
        ["<b>", "3", "2", "1", "0", "1.000", "0.667", "0.800"],
        ['R&D "x"', "2", "2", "0", "2", "0.500", "1.000", "0.667"],
        ["</td><script>", "1", "0", "1", "0", "–", "0.000", "0.000"],
    ]
    assert "Of 6 pictures of &lt;i&gt;letters&lt;/i&gt; that the model was not trained on" in text
    assert re.search(r"it recognised 4: an accuracy of 66\.67%", text)
    for sentence in sentences(evaluation):
        assert f"<li>{escape(sentence)}</li>" in text
    assert embedded(text) == picture
    assert opened(embedded(text)).size == opened(picture).size
    assert not re.search(r'(src|href)="(?!data:)', text)  # It needs no other file.


def embedded(text: str) -> bytes:
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return b64decode(source, validate=True)


def test_few_classes_are_named_in_the_picture_and_many_are_not() -> None:
    few, many = np.eye(3, dtype=int).tolist(), np.eye(60, dtype=int).tolist()
    small, large = confusion_picture(few, ["a", "b", "c"]), confusion_picture(many, [f"a{n}" for n in range(60)])
    assert small != confusion_picture(few, ["a", "b", "d"])
    assert large == confusion_picture(many, [f"b{n}" for n in range(60)])
    width, height = opened(small).size
    assert width == height >= 300
    assert width < opened(large).size[0] <= 2000


def test_the_picture_has_what_is_from_top_to_bottom() -> None:
    confusion = np.zeros((60, 60), int)
    confusion[range(6), range(54, 60)] = 1  # The first classes are taken for the last ones: top right.
    pixels = np.asarray(opened(confusion_picture(confusion.tolist(), [""] * 60)).convert("RGB")).astype(int)
    blue = np.argwhere(pixels[..., 2] - pixels[..., 0] > 40)
    assert len(blue) > 100
    down, right = blue.mean(axis=0) / pixels.shape[:2]
    assert down < 0.3
    assert right > 0.7


def test_a_dollar_in_a_name_begins_no_formula() -> None:
    names = ["US$ to CA$", r"$\frac$", "c"]
    opened(confusion_picture(measured().confusion, names))


@pytest.fixture(scope="module")
def finished(whole: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run, to write into; six of its pictures are held out."""
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
    assert evaluation == measure(finished.config().data, ("0", "1"), held_out.labels, scores.argmax(axis=1))
    assert evaluation.examples == 6
    assert evaluation.accuracy == pytest.approx(finished.progress().history[-1].held_out_accuracy)
    assert done.stdout.splitlines() == [
        f"{evaluation.accuracy:.2%} of 6 held-out pictures recognised.",
        *(f"  {sentence}" for sentence in sentences(evaluation)),
        f"Read more in {finished.folder / 'evaluation.html'}",
    ]
    picture = (finished.folder / "confusion.png").read_bytes()
    opened(picture)
    assert (finished.folder / "evaluation.html").read_text(encoding="utf-8") == page(evaluation, picture)


def test_an_unfinished_run_is_refused(finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(finished.folder / "config.json", tmp_path)
    assert main(["evaluate", str(tmp_path)]) == 2
    expected = (
        f"python -m training: {tmp_path}: 0 of {EPOCHS} epochs are done; finish it with: python -m training train"
    )
    assert capsys.readouterr().err.splitlines()[-1].startswith(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_pictures_that_have_changed_are_refused(finished: Run, tmp_path: Path) -> None:
    config = finished.config()
    changed = tmp_path / "run"
    shutil.copytree(finished.folder, changed)
    other = tmp_path / "pictures"
    shutil.copytree(config.data, other)
    Run(changed).begin(config.model_copy(update={"data": str(other)}))
    evaluate(Run(changed))
    next(other.rglob("*.png")).unlink()
    with pytest.raises(RunError, match="has changed since"):
        evaluate(Run(changed))
