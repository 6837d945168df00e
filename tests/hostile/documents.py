"""JSON that is broken, is not what it should be, or wants much to be read."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .images import SEED

Path = tuple[str | int, ...]

_MARK = "here it stands"


@dataclass(frozen=True)
class Text:
    """The body of a request in JSON, or nearly."""

    name: str
    body: bytes
    harmless: bool
    broken: bool = False
    """Whether it is no JSON at all."""


@dataclass(frozen=True)
class Sound:
    """A request that is answered."""

    document: dict[str, Any]
    needed: frozenset[Path]
    """Places where no other value than what stands there can be right."""


def sound_documents(image: bytes) -> dict[str, Sound]:
    """Return a request of each format for an encoded image."""
    text = b64encode(image).decode()
    predict = {"signature_name": "serving_default", "instances": [{"b64": text}]}
    classify = {
        "signature_name": "classify_images",
        "context": {"place": "here"},
        "examples": [{"image_bytes": {"b64": text}, "caption": "a digit", "weights": [1.5, 2.5]}],
    }
    infer = {
        "id": "mine",
        "inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text], "parameters": {}}],
        "outputs": [{"name": "scores", "parameters": {"classification": 3, "binary_data": False}}],
        "parameters": {"timeout": 20_000_000, "priority": 1, "binary_data_output": False},
    }
    return {
        "predict": Sound(predict, frozenset(_below(predict, "instances"))),
        "classify": Sound(
            classify, frozenset([*_below(classify["examples"][0], "image_bytes", ("examples", 0)), ("examples",)])
        ),
        "infer": Sound(
            infer,
            frozenset(
                [path for path in _below(infer, "inputs") if "parameters" not in path and path != ("inputs", 0)]
                + [("inputs", 0)]
            ),
        ),
    }


def hostile_texts(sound: Sound) -> Iterator[Text]:
    """Yield bodies made of a sound one, always the same."""
    yield from _replaced(sound)
    yield from _without(sound)
    yield from _cut(sound)
    yield from _encoded(sound)
    yield from _written(sound)
    yield from _deep()


def raw_values() -> dict[str, str]:
    """Return what may stand where something else belongs, as it is written."""
    return {
        "null": "null",
        "true": "true",
        "false": "false",
        "0": "0",
        "-1": "-1",
        "1.5": "1.5",
        "-0.0": "-0.0",
        "1e400": "1e400",
        "10^400": "1" + "0" * 400,
        "-10^400": "-1" + "0" * 400,
        "a number of 50,000 digits": "9" * 50_000,
        "0.000…1": f"0.{'0' * 5000}1",
        "2^63": str(2**63),
        "2^64": str(2**64),
        "-2^63": str(-(2**63)),
        "an empty text": '""',
        "x": '"x"',
        "a text with NUL": '"\\u0000"',
        "a text of many scripts": '"é漢😀\u202e\u0000"'.replace("\u0000", "\\u0000"),
        "a control sequence": '"\\u001b[2J\\r\\nHTTP/1.1 200 OK"',
        "a long text": f'"{"x" * 70_000}"',
        "[]": "[]",
        "{}": "{}",
        "[[]]": "[[]]",
        "[{}]": "[{}]",
        "[null]": "[null]",
        "[1, 2, 3]": "[1, 2, 3]",
        "10,000 × null": f"[{', '.join(['null'] * 10_000)}]",
        "[[[…]]] 500 deep": "[" * 500 + "]" * 500,
        "{{{…}}} 500 deep": '{"a": ' * 500 + "1" + "}" * 500,
        "2,000 keys": "{" + ", ".join(f'"k{number}": 0' for number in range(2000)) + "}",
        "b64: null": '{"b64": null}',
        "b64: 1": '{"b64": 1}',
        "b64: []": '{"b64": []}',
        "b64 and more": '{"b64": "", "x": 1}',
        "a key of nothing": '{"": ""}',
        "a path": '"../../../../etc/passwd"',
        "a URL": '"http://169.254.169.254/latest/meta-data"',
    }


_NO_JSON = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "a lone surrogate": '"\\ud800"',
    "surrogates in the wrong order": '"\\udc00\\ud800"',
    "+1": "+1",
    "01": "01",
    ".5": ".5",
    "0x10": "0x10",
    "1_000": "1_000",
    "undefined": "undefined",
    "True": "True",
    "a text in single quotes": "'x'",
    "a text without its end": '"x',
    "a wrong escape": '"\\x41"',
    "a raw line break": '"a\nb"',
    "[,]": "[,]",
    "{,}": "{,}",
    "a trailing comma": "[1,]",
    "a comment": "/* 1 */ 1",
    "2000 deep": "[" * 2000 + "]" * 2000,
}


def _replaced(sound: Sound) -> Iterator[Text]:
    for path in [(), *_paths(sound.document)]:
        where = "".join(f"[{step!r}]" for step in path) or "the whole"
        text = json.dumps(_with(sound.document, path, _MARK))
        for name, raw in raw_values().items():
            body = text.replace(f'"{_MARK}"', raw).encode()
            yield Text(f"{name} for {where}", body, path != () and path not in sound.needed)
        for name, raw in _NO_JSON.items():
            yield Text(f"{name} for {where}", text.replace(f'"{_MARK}"', raw).encode(), False, broken=True)


def _without(sound: Sound) -> Iterator[Text]:
    """Yield bodies with keys missing, new or twice."""
    for path in _paths(sound.document):
        if isinstance(path[-1], str):
            holder = _at(sound.document, path[:-1])
            where = "".join(f"[{step!r}]" for step in path)
            less = {key: value for key, value in holder.items() if key != path[-1]}
            yield Text(f"no {where}", _dumped(_with(sound.document, path[:-1], less)), path not in sound.needed)
            more = {**holder, "unheard of": {"deep": [1, 2, {}]}}
            yield Text(f"a new key beside {where}", _dumped(_with(sound.document, path[:-1], more)), True)
            renamed = {(key.upper() if key == path[-1] else key): value for key, value in holder.items()}
            body = _dumped(_with(sound.document, path[:-1], renamed))
            yield Text(f"{where} in capitals", body, path not in sound.needed)
            marked = json.dumps(_with(sound.document, path[:-1], _MARK))
            twice = json.dumps(holder)[:-1] + f", {json.dumps(path[-1])}: " + json.dumps(holder[path[-1]]) + "}"
            yield Text(f"{where} twice", marked.replace(f'"{_MARK}"', twice).encode(), True)
            wrong = json.dumps(holder)[:-1] + f", {json.dumps(path[-1])}: -7" + "}"
            body = marked.replace(f'"{_MARK}"', wrong).encode()
            yield Text(f"{where} twice, the second time wrong", body, True)


def _cut(sound: Sound) -> Iterator[Text]:
    body = _dumped(sound.document)
    inside = random.Random(SEED).sample(range(60, len(body) - 40), 40)
    for end in [*range(60), *sorted(inside), *range(len(body) - 40, len(body))]:
        yield Text(f"cut at {end}", body[:end], False, broken=True)


def _encoded(sound: Sound) -> Iterator[Text]:
    """Yield bodies in other encodings than UTF-8, or in none."""
    body = _dumped(sound.document)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig"):
        yield Text(f"in {encoding}", body.decode().encode(encoding), False, broken=True)
    yield Text("in EBCDIC", body.decode().encode("cp500"), False, broken=True)
    for name, wrong in {
        "a byte that UTF-8 never has": b"\xff",
        "a NUL that takes two bytes": b"\xc0\x80",
        "half a character": b"\xe6\xbc",
        "a surrogate in UTF-8": b"\xed\xa0\x80",
        "a character beyond Unicode": b"\xf5\x80\x80\x80",
        "latin-1": b"\xe9",
        "a raw NUL": b"\0",
        "a raw control character": b"\x1f",
    }.items():
        yield Text(f"{name} in a key", body.replace(b'{"', b'{"' + wrong, 1), False, broken=True)
        yield Text(f"{name} before all", wrong + body, False, broken=True)
        yield Text(f"{name} behind all", body + wrong, False, broken=True)


def _written(sound: Sound) -> Iterator[Text]:
    """Yield what is not quite JSON."""
    body = _dumped(sound.document)
    for name, text in {
        "two documents": body + body,
        "two lines": body + b"\n" + body,
        "JSONP": b"call(" + body + b")",
        "a prefix against hijacking": b")]}',\n" + body,
        "single quotes": body.replace(b'"', b"'"),
        "keys without quotes": body.replace(b'{"', b"{").replace(b'": ', b": "),
        "a comma at the end": body[:-1] + b",}",
        "a comment": b"// all\n" + body,
        "YAML": b"instances:\n- b64: x\n",
        "XML": b"<instances/>",
        "a form": b"instances=x",
        "only spaces": b" " * 1000,
        "an image": b"\x89PNG\r\n\x1a\n",
        "pickle": b"\x80\x04\x95\x0a\0\0\0\0\0\0\0",
        "nul": b"nul",
        "a quote": b'"',
        "a bracket": b"[",
    }.items():
        yield Text(name, text, False, broken=True)
    yield Text("spaces around", b" \r\n\t" * 1000 + body + b"\n" * 1000, True)
    yield Text("a number of 10^6 digits", b"7" * 10**6, False)
    yield Text("100,000 keys", b"{" + b",".join(b'"k%d":0' % number for number in range(100_000)) + b"}", False)
    yield Text("a key of 1 MB", b'{"' + b"k" * 10**6 + b'":0}', False)
    yield Text("a million zeros", b"[" + b"0," * 900_000 + b"0]", False)
    yield Text("400,000 empty lists", b"[" + b"[]," * 400_000 + b"[]]", False)
    yield Text("400,000 empty objects", b"[" + b"{}," * 400_000 + b"{}]", False)


def _deep() -> Iterator[Text]:
    for depth in (500, 1000, 1022, 1023, 1024, 1025, 1026, 2000, 100_000):
        yield Text(f"{depth} brackets", b"[" * depth, False, broken=True)
        yield Text(f"{depth} brackets and as many that close", b"[" * depth + b"]" * depth, False)
        yield Text(f"{depth} objects", b'{"a":' * depth + b"1" + b"}" * depth, False)
        yield Text(f"{depth} brackets and objects", b'[{"a":' * depth + b"1" + b"}]" * depth, False)


def _dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


def _paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Yield where each value of a document stands, but the whole."""
    inner: Sequence[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for step, entry in inner:
        yield (*at, step)
        yield from _paths(entry, (*at, step))


def _below(document: Any, key: str, at: Path = ()) -> list[Path]:
    return [(*at, key), *((*at, key, *path) for path in _paths(document[key]))]


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def _with(document: Any, path: Path, value: Any) -> Any:
    """Return a copy of a document with another value in one place."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(document, dict):
        return {key: _with(entry, rest, value) if key == first else entry for key, entry in document.items()}
    return [_with(entry, rest, value) if index == first else entry for index, entry in enumerate(document)]
