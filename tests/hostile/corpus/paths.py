"""Paths that lead nowhere."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator

from tests.hostile.images import sound_images

from .item import CLASSIFY, INFER, JSON, MODEL, PREDICT, Item
from .ways import images_tensor, infer_body


def paths() -> Iterator[Item]:
    png = sound_images()["png"]
    body = json.dumps({"instances": [{"b64": b64encode(png).decode()}]}).encode()
    tensor = infer_body(images_tensor(data=[b64encode(png).decode()]))
    odd = [
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "xception%00",
        "%F0%9F%98%80",
        "%ED%A0%80",
        "%FF",
        "x" * 50_000,
        "%25252e",
        "xception%3Apredict",
        "XCEPTION",
        "xception%20",
        "xception;x=1",
        "*",
        "%0d%0aX-Injected:%20yes",
        "-1",
        "~",
        "1e9",
        "1" * 5000,
        "99999999999999999999",
        "%D9%A3",
        "0x1",
        "$(id)",
        "%7B%7B7*7%7D%7D",
        "'%20OR%201=1--",
        ".",
        "%2E",
    ]
    for part in odd:
        name = part[:30]
        yield Item(f"the model {name} of v1", f"/v1/models/{part}:predict", body, JSON)
        yield Item(f"the version {name} of v1", f"{MODEL}/versions/{part}:predict", body, JSON)
        yield Item(f"the label {name} of v1", f"{MODEL}/labels/{part}:classify", body, JSON)
        yield Item(f"the method {name} of v1", f"{MODEL}:{part}", body, JSON)
        yield Item(f"the model {name} of v2", f"/v2/models/{part}/infer", tensor, JSON)
        yield Item(f"the version {name} of v2", f"/v2/models/xception/versions/{part}/infer", tensor, JSON)
        yield Item(f"to load {name}", f"/v2/repository/models/{part}/load", b"{}", JSON)
        yield Item(f"to reload {name}", f"/v1/models/{part}/reload", b"", {"Authorization": "Bearer x"})
        yield Item(f"the path /{name}", f"/{part}", body, JSON)
        yield Item(f"below classify, {name}", f"{CLASSIFY}/{part}", png)
    for path in (
        "/classify/",
        "//classify",
        "/./classify",
        "/CLASSIFY",
        "/classify%2f",
        f"{INFER}/",
        f"/{INFER}",
        f"{PREDICT}/",
        f"{MODEL}/:predict",
        f"{MODEL}:predict:predict",
        "/v1/models/:predict",
        "/v1",
        "/v1/",
        "/v1/models",
        "/v2",
        "/v2/",
        "/v2/models//infer",
        "/v2/models/xception/versions//infer",
        "/metrics",
        "/docs.json",
        "/livez",
        "/",
        "/v1/models/xception/versions/1",
        "/v2/models/xception",
        "/v1/../v2/models/xception/infer",
        "/debug/batching",
    ):
        yield Item(f"the path {path}", path, body, JSON)
