"""Forms, most of them no good."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from tests.hostile.images import sound_images

from .item import BOUNDARY, CLASSIFY, FORM, Item
from .ways import file_head, form


def forms() -> Iterator[Item]:
    """Yield forms, most of them no good."""
    png = sound_images()["png"]
    good = form((file_head(), png))
    for name, body in {
        "empty": b"",
        "without an end": form((file_head(), png), end=b""),
        "cut in the image": good[: len(good) // 2],
        "cut in its headers": good[:60],
        "of another boundary": good.replace(BOUNDARY.encode(), b"b-boundary"),
        "of line feeds alone": good.replace(b"\r\n", b"\n"),
        "with no part": form(),
        "with no name": form(("Content-Disposition: form-data", png)),
        "with an empty name": form((file_head(""), png)),
        "without a disposition": form(("Content-Type: image/png", png)),
        "without headers": form(("", png)),
        "with an image as text": form(('Content-Disposition: form-data; name="image"', b"text")),
        "with a text and the image": form(
            ('Content-Disposition: form-data; name="image"', b"text"), (file_head(), png)
        ),
        "with two images": form((file_head(), png), (file_head(), png)),
        "with an array of images": form((file_head("image[]"), png)),
        "with another name": form((file_head("photo"), png)),
        "with a name in capitals": form((file_head("IMAGE"), png)),
        "of 9 files": form(*[(file_head(f"f{number}"), png) for number in range(9)]),
        "of 9 texts": form(*[(f'Content-Disposition: form-data; name="t{number}"', b"x") for number in range(9)]),
        "of 10,000 parts": form(*[('Content-Disposition: form-data; name="t"', b"")] * 10_000),
        "of a text of 1.5 MiB": form(('Content-Disposition: form-data; name="t"', b"x" * (3 * 2**19))),
        "with 100 headers": form(("\r\n".join(f"X-{number}: x" for number in range(100)), png)),
        "with a long header": form((f"X-Long: {'x' * 100_000}", png)),
        "with a broken header": form(("no colon here", png)),
        "with a header of NUL": form(("X-\0: \0", png)),
        "in a form": form((f"Content-Type: multipart/mixed; boundary=x\r\n{file_head()}", b"--x\r\n\r\nx\r\n--x--")),
        "in base64": form((f"{file_head()}\r\nContent-Transfer-Encoding: base64", b64encode(png))),
        "of boundaries": f"--{BOUNDARY}\r\n".encode() * 10_000,
        "of carriage returns": b"\r" * 10**6,
        "of hyphens": b"-" * 10**6,
        "with a boundary at each line": form((file_head(), f"\r\n--{BOUNDARY[:-1]}".encode() * 20_000)),
        "of an empty image": form((file_head(), b"")),
        "with a name of lone surrogates": form((file_head("\\ud800"), png)),
        "with a name that is no UTF-8": form((file_head("image"), png)).replace(b'name="image"', b'name="im\xffge"'),
        "with a long name": form((file_head("x" * 4000), png)),
    }.items():
        yield Item(f"a form {name}", CLASSIFY, body, FORM)
    for filename in ("../../etc/passwd", "C:\\x.png", "x" * 3000, "\u202egnp.exe", "", "x\\", "a;b", "%00"):
        body = form((file_head(filename=filename), png))
        yield Item(f"a form with the file {filename[:20]!r}", CLASSIFY, body, FORM, True)
    boundaries = [
        "",
        '""',
        '"',
        "x" * 257,
        "y" * 60_000,
        "a b",
        "\t",
        "a;b",
        '"a\\"b"',
        "\\",
        "*",
        "é",
        f"{BOUNDARY}\\",
    ]
    for boundary in boundaries:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        yield Item(f"boundary {boundary[:20]!r}", CLASSIFY, good, headers)
    for parameters in (
        "",
        ";",
        "; boundary",
        "; charset=utf-8",
        "; boundary*=utf-8''x",
        "; BOUNDARY",
        f"; x={BOUNDARY}",
    ):
        yield Item(
            f"multipart/form-data{parameters}", CLASSIFY, good, {"Content-Type": f"multipart/form-data{parameters}"}
        )
    for charset in (
        "utf-7",
        "utf-16",
        "unicode_escape",
        "raw_unicode_escape",
        "punycode",
        "idna",
        "undefined",
        "hex",
        "rot13",
        "zlib",
        "base64",
        "mbcs",
        "cp037",
        "unknown",
        "../codecs",
        "é",
        "x" * 10_000,
        "",
        "charmap",
        "utf-8-sig",
        "bz2",
        "quopri",
    ):
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}; charset={charset}"}
        for name in ("\\ud800", "+2AA-", "xn--a", "a-\x7f", "78"):
            body = form((file_head(name), png))
            yield Item(f"charset {charset[:20]} and a name {name!r}", CLASSIFY, body, headers, says=r"^the form ")
