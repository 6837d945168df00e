"""Common parts of the commands: options, output, and access to the store."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from model_store.catalog.reference import Reference, Resolved, resolve
from model_store.errors import UsageError
from model_store.progress import Progress, progress_on
from model_store.store.remote import Remote
from model_store.store.schemes import is_web
from model_store.trust.signing import Trust

LOCAL_STORE = Path(".local/store")
"""Where `make serve` publishes to; the default if it exists and no store is named, as for the server."""

PATH = click.Path(path_type=Path)

REFERENCE = "NAME, NAME:VERSION, NAME:LABEL or NAME:sha256:DIGEST; the default label is stable"

model_argument = click.argument("model", metavar="NAME")
label_argument = click.argument("label", metavar="LABEL", help="A name such as stable or canary.")
reference_argument = click.argument("reference", metavar="NAME[:REF]", help=f"{REFERENCE}.")

note_option = click.option("--note", metavar="TEXT", help="The reason, for readers of the history; one line.")

public_key_option = click.option(
    "--public-key",
    type=PATH,
    metavar="FILE",
    envvar="MODEL_PUBLIC_KEY",
    show_envvar=True,
    help="Accept only versions signed with the private key that belongs to this public key (PEM).",
)


@dataclass(frozen=True)
class Session:
    """One run of a command: the store it works on, and how it shows progress."""

    store_url: str | None
    progress: Progress

    def open(self, *, publishing: bool = False) -> Remote:
        """Open the store.

        Raises:
            UsageError: No store is named.
        """
        if not self.store_url:
            raise UsageError("no store is named: give --store URL, or set MODEL_STORE_URL")
        return Remote.open(self.store_url, publishing=publishing)

    def open_listable(self, command: str, instead: str) -> Remote:
        """Open a store that can be listed.

        Args:
            command: What needs the listing.
            instead: What works without one.

        Raises:
            UsageError: No store is named, or it is a web server.
        """
        remote = self.open()
        if is_web(remote.url):
            raise UsageError(
                f"{remote.url}: {command} needs a listing, which a web server does not give; use {instead}, "
                "or the bucket or folder behind it"
            )
        return remote

    def resolve(self, reference: Reference, *, publishing: bool = False) -> tuple[Remote, Resolved]:
        """Open the store and return it with the version that `reference` stands for."""
        remote = self.open(publishing=publishing)
        return remote, resolve(remote, reference.model, reference.selector)


class StoreCommand(click.Command):
    """A command on a store.

    Its function takes a `Session` before its own parameters, and returns the output as a JSON document and as text.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **kwargs: Any) -> None:
        """Add the common options.

        Args:
            args: As for `click.Command`.
            examples: The arguments of invocations that the help shows.
            kwargs: As for `click.Command`.
        """
        super().__init__(*args, **kwargs)
        self._examples = examples
        self.params += [
            click.Option(
                ["--store"],
                metavar="URL",
                envvar="MODEL_STORE_URL",
                show_envvar=True,
                help="file:///folder, s3://bucket/prefix, gs://…, az://…, or https://host/folder to read only. "
                f"Default: {LOCAL_STORE} in this folder, if it exists.",
            ),
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document to stdout."),
            click.Option(["--quiet"], is_flag=True, help="Show no progress."),
        ]

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and print its output."""
        own = dict(ctx.params)
        store_url, as_json, quiet = (own.pop(name) for name in ("store", "as_json", "quiet"))
        if not store_url and LOCAL_STORE.is_dir():
            store_url = LOCAL_STORE.absolute().as_uri()
        session = Session(store_url, progress_on(sys.stderr, quiet=quiet or as_json))
        assert self.callback
        document, text = ctx.invoke(self.callback, session, **own)
        print(json.dumps(document) if as_json else text, flush=True)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own, so that it can be copied."""
        with formatter.section("Examples"):
            for example in self._examples:
                formatter.write(f"{'':{formatter.current_indent}}{ctx.command_path} {example}".rstrip() + "\n")


def read_trust(public_key: Path | None) -> Trust | None:
    """Return the trust in the holder of a key, or None where no key is given."""
    return Trust.from_file(public_key) if public_key else None
