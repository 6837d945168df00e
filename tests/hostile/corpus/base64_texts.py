"""Text in base64, nearly."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator

from tests.hostile.images import sound_images

from .item import EXAMPLES, INFER, JSON, PREDICT, Item
from .ways import images_tensor


def base64_texts() -> Iterator[Item]:
    data = sound_images()["png"]
    text = b64encode(data).decode()
    half = len(text) // 2
    texts: dict[str, tuple[str, bool]] = {
        "of the URL-safe alphabet": (urlsafe_b64encode(data).decode(), False),
        "wrapped": ("\n".join(text[at : at + 76] for at in range(0, len(text), 76)), True),
        "with a space": (f"{text[:half]} {text[half:]}", True),
        "with a NUL": (f"{text[:half]}\0{text[half:]}", False),
        "with a no-break space": (f"{text[:half]}\u00a0{text[half:]}", False),
        "with full-width letters": (f"{text[:half]}\uff21{text[half + 1 :]}", False),
        "padded inside": (f"{text[:half]}={text[half:]}", False),
        "padded too much": (f"{text}====", True),
        "of one letter": ("A", False),
        "of padding alone": ("====", False),
        "with a letter too many": (text.rstrip("=") + "AAAAA"[: 5 - len(text.rstrip("=")) % 4], False),
        "twice": (b64encode(text.encode()).decode(), False),
        "of a data URL": (f"data:image/png;base64,{text}", False),
        "percent-encoded": (text.replace("+", "%2B").replace("/", "%2F"), False),
        "in hexadecimal": (data.hex(), False),
        "of spaces": (" " * 100, False),
        "of text in Chinese": ("漢字" * 50, False),
        "of a path": ("/etc/passwd", False),
    }
    for name, (value, harmless) in texts.items():
        for path, document, says in (
            (PREDICT, {"instances": [{"b64": value}]}, r"instances\[0\]: "),
            (EXAMPLES, {"examples": [{"image_bytes": {"b64": value}}]}, r"examples\[0\]\.image_bytes"),
            (INFER, {"inputs": [images_tensor(data=[value])]}, r"^inputs\[0\]\.data\[0\]: "),
        ):
            yield Item(f"base64 {name}, {path}", path, json.dumps(document).encode(), JSON, harmless, says)
