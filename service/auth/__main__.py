"""Makes API keys: `python -m service.auth add shop --file keys.json --rate 50`."""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from model_store.disk import write_whole
from service.core.key_file import KeyEntry, KeyFile, read_keys

_KEY_BYTES = 32
"""256 random bits need no slow hash: there is nothing to guess."""

_OWNER_ONLY = 0o600
"""The rights of the file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            return _list(options)
        # Of two who change the file at once, the second reads what the first has written.
        with FileLock(options.file.with_name(options.file.name + ".lock"), mode=_OWNER_ONLY):
            return _add(options) if options.command == "add" else _remove(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _fail(f"{first['loc'][0]}: {first['msg']}")
    except (ValueError, OSError) as error:
        return _fail(str(error))


def _list(options: argparse.Namespace) -> int:
    for entry in read_keys(options.file).keys:
        rate = f"{entry.images_per_second:g} images/s" if entry.images_per_second else "no limit"
        print(f"{entry.name}\t{entry.priority}\t{rate}\t{entry.sha256[:12]}")
    return 0


def _add(options: argparse.Namespace) -> int:
    file = read_keys(options.file) if options.file.exists() else KeyFile(keys=[])
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


def _remove(options: argparse.Namespace) -> int:
    file = read_keys(options.file)
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
    """Write the keys so that nobody else may read them at any moment, and no reader finds half a file."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # Of a command that was killed.
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
    write_whole(path, [file.model_dump_json(indent=2).encode(), b"\n"], partial)


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.auth", description="Makes, lists and removes API keys.")
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
