"""Makes API keys: `python -m service.keys add shop --file keys.json --rate 50`."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from model_store.disk import write_whole

from .callers import KeyEntry, KeyFile, read_keys

_KEY_BYTES = 32
"""256 random bits need no slow hash: there is nothing to guess."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        new = options.command == "add" and not options.file.exists()
        file = KeyFile(keys=[]) if new else read_keys(options.file)
        if options.command == "add":
            return _add(file, options)
        if options.command == "remove":
            return _remove(file, options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _fail(f"{first['loc'][0]}: {first['msg']}")
    except (ValueError, OSError) as error:
        return _fail(str(error))
    for entry in file.keys:
        rate = f"{entry.images_per_second:g} images/s" if entry.images_per_second else "no limit"
        print(f"{entry.name}\t{entry.priority}\t{rate}\t{entry.sha256[:12]}")
    return 0


def _add(file: KeyFile, options: argparse.Namespace) -> int:
    key = secrets.token_urlsafe(_KEY_BYTES)
    entry = KeyEntry(
        name=options.name,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        images_per_second=options.rate,
        priority=options.priority,
    )
    _write(options.file, KeyFile(keys=[*file.keys, entry]))
    print("The key, which is kept nowhere; it will not be shown again:", file=sys.stderr)
    print(key)
    return 0


def _remove(file: KeyFile, options: argparse.Namespace) -> int:
    kept = [
        entry
        for entry in file.keys
        if entry.name != options.name or (options.sha256 and not entry.sha256.startswith(options.sha256))
    ]
    if len(kept) == len(file.keys):
        return _fail(f"{options.file} has no such key of '{options.name}'")
    _write(options.file, KeyFile(keys=kept))
    return 0


def _write(path: Path, file: KeyFile) -> None:
    write_whole(path, [file.model_dump_json(indent=2).encode(), b"\n"], path.with_name(path.name + ".partial"))
    path.chmod(0o600)


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.keys", description="Makes, lists and removes API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("add", "make a key, print it once, and put its hash into the file"),
        ("list", "show the keys"),
        ("remove", "take a caller's keys out of the file"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--file", type=Path, default=Path("keys.json"), help="the file of API_KEYS_FILE (%(default)s)"
        )
        if name != "list":
            command.add_argument("name", help="of the caller: letters, digits, and . _ -")
        if name == "add":
            command.add_argument("--rate", type=float, help="images a second, on average; no limit unless given")
            command.add_argument(
                "--priority",
                choices=("interactive", "bulk"),
                default="interactive",
                help="the best that its requests may have (%(default)s)",
            )
        if name == "remove":
            command.add_argument("--sha256", help="only the one whose hash begins so, as `list` shows it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
