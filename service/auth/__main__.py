"""Make API keys: `python -m service.auth add shop --file keys.json --rate 50`."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import click
from filelock import BaseFileLock, FileLock
from pydantic import ValidationError

from model_store.disk import write_whole
from service.core.key_file import KeyEntry, KeyFile, read_keys

PROGRAM = "python -m service.auth"

_KEY_BYTES = 32
"""256 random bits need no slow hash: there is nothing to guess."""

_OWNER_ONLY = 0o600
"""The permissions of the file."""


@click.group(
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120, "show_default": True},
)
def app() -> None:
    """Make, list and remove API keys."""


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run one command and return its exit code: 0 done, 2 failed.

    Args:
        arguments: The arguments after the program's name; those of the process by default.
        program: The name of the program in help and error messages.
    """
    try:
        with app.make_context(program, list(sys.argv[1:] if arguments is None else arguments)) as context:
            app.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else program
        return _fail(f"{error.format_message().rstrip('.')}; see {path} --help")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _fail(f"{first['loc'][0]}: {first['msg']}")
    except (ValueError, OSError) as error:
        return _fail(str(error))
    return 0


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


_file_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--file", type=click.Path(path_type=Path), default=Path("keys.json"), help="The file of API_KEYS_FILE."
)


@app.command("list")
@_file_option
def list_keys(file: Path) -> None:
    """Show the keys."""
    for entry in read_keys(file).keys:
        rate = f"{entry.images_per_second:g} images/s" if entry.images_per_second else "no limit"
        print(f"{entry.name}\t{entry.priority}\t{rate}\t{entry.sha256[:12]}")


@app.command()
@click.argument("name", help="Name of the client: letters, digits, and . _ -")
@_file_option
@click.option("--rate", type=float, help="Images per second, on average; unlimited by default.", show_default=False)
@click.option(
    "--priority",
    type=click.Choice(["interactive", "bulk"]),
    default="interactive",
    help="The highest priority that its requests may have.",
)
def add(name: str, file: Path, rate: float | None, priority: Literal["interactive", "bulk"]) -> None:
    """Make a key, print it once, and add its hash to the file."""
    with _locked(file):
        keys = read_keys(file).keys if file.exists() else []
        key = secrets.token_urlsafe(_KEY_BYTES)
        digest = hashlib.sha256(key.encode()).hexdigest()
        entry = KeyEntry(name=name, sha256=digest, images_per_second=rate, priority=priority)
        _write(file, KeyFile(keys=[*keys, entry]))
    print("The key; it is stored nowhere and will not be shown again:", file=sys.stderr)
    print(key)


@app.command()
@click.argument("name", help="Name of the client.")
@_file_option
@click.option("--sha256", metavar="PREFIX", help="Only the key whose hash begins so, as `list` shows it.")
def remove(name: str, file: Path, sha256: str | None) -> None:
    """Remove a client's keys from the file."""
    with _locked(file):
        keys = read_keys(file).keys
        kept = [entry for entry in keys if entry.name != name or (sha256 and not entry.sha256.startswith(sha256))]
        if len(kept) == len(keys):
            raise ValueError(f"{file} has no such key of '{name}'")
        _write(file, KeyFile(keys=kept))


def _locked(file: Path) -> BaseFileLock:
    """Return a lock on the file: of two concurrent changes, the second reads what the first has written."""
    return FileLock(file.with_name(file.name + ".lock"), mode=_OWNER_ONLY)


def _write(path: Path, file: KeyFile) -> None:
    """Write the keys so that only the owner can ever read them, and no reader finds half a file."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # Of a command that was killed.
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
    write_whole(path, [file.model_dump_json(indent=2).encode(), b"\n"], partial)


if __name__ == "__main__":
    sys.exit(main())
