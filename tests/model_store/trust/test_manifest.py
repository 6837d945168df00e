from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from model_store.errors import ManifestError
from model_store.trust.manifest import Evaluation, InputContract, Manifest, ManifestFile, digest_of
from tests.model_store.samples import FILES, make_manifest

LETTERS = "abzAZ09 _-.é漢😀'&%+#~"


def random_manifest(seed: int) -> Manifest:
    draw = random.Random(seed)

    def word() -> str:
        return "x" + "".join(draw.choices(LETTERS, k=draw.randint(1, 20)))

    extra = {f"{word()}/{number}": draw.randbytes(draw.randint(0, 50)) for number in range(draw.randint(0, 9))}
    return make_manifest(
        {**FILES, **extra},
        created=datetime.fromtimestamp(draw.random() * 4e9, UTC).astimezone(
            timezone(timedelta(minutes=draw.randint(-700, 700)))
        ),
        input=InputContract(
            height=draw.randint(1, 8192), width=draw.randint(1, 8192), mean=draw.gauss(0, 1e3), scale=draw.random()
        ),
        classes=tuple(word() for _ in range(draw.randint(2, 30))),
        evaluation=draw.choice([None, Evaluation(data=word(), examples=9, accuracy=draw.random())]),
        provenance={word(): draw.choice([None, word(), draw.randint(-(2**60), 2**60), draw.random()])},
    )


@pytest.mark.parametrize("seed", range(50))
def test_parsing_what_was_written_gives_an_equal_manifest(seed: int) -> None:
    manifest = random_manifest(seed)
    data = manifest.to_bytes()
    again = Manifest.parse(data)
    assert again == manifest
    assert digest_of(again.to_bytes()) == digest_of(data)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"format": 1}', b"\xff"])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(data)


@pytest.mark.parametrize("path", ["manifest.json", "MANIFEST.json", "model.sig", "Model.SIG", "model.sig/x"])
def test_names_that_are_taken_cannot_be_listed(path: str) -> None:
    with pytest.raises(ValueError, match="is not a plain relative path"):
        ManifestFile(path=path, size=0, sha256="0" * 64)
    assert ManifestFile(path=f"below/{path}", size=0, sha256="0" * 64)
