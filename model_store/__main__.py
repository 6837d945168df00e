"""The command line: `python -m model_store`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from .answers import Answer
from .commands import (
    run_history,
    run_label,
    run_models,
    run_prune,
    run_publish,
    run_pull,
    run_rollback,
    run_show,
    run_unlabel,
    run_verify,
    run_versions,
)
from .errors import StoreError, UsageError
from .progress import Progress, progress_on
from .signing import PASSWORD_VARIABLE

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""

_EXIT_CODES = """\
exit codes: 0 done · 2 wrong usage · 3 not found · 4 bytes differ from what was promised, or are not signed ·
5 another writer was first · 6 access denied · 7 store unreachable · 8 local disk · 130 interrupted

Endpoints and credentials come from the usual variables of each cloud; for S3 AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_S3_FORCE_PATH_STYLE."""

_STORE = "default: $MODEL_STORE_URL, or .local/store in this folder if it is there"

_REFERENCE = "NAME, NAME:VERSION, NAME:LABEL or NAME:sha256:DIGEST (default label: stable)"


class _Formatter(argparse.HelpFormatter):
    """Breaks long descriptions, and leaves examples as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n")
        if len(paragraphs) > 1:
            return "".join(f"{indent}{line}\n" for line in paragraphs)
        return super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The arguments after the program's name; those of the process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        args = _parser().parse_args(words)
        progress = progress_on(sys.stderr, quiet=args.quiet or args.json)
        document, text = args.run(args, progress)
        print(json.dumps(document) if args.json else text, flush=True)
    except StoreError as error:
        return _failed(str(error), error.exit_code, as_json)
    except KeyboardInterrupt:
        return _failed("interrupted; nothing half-written is visible, run the same again", INTERRUPTED, as_json)
    except BrokenPipeError:
        # The reader left, as `head` does; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _failed(message: str, exit_code: int, as_json: bool) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": message, "exit_code": exit_code}), flush=True)
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m model_store",
        description="Publish, label, pull, verify and prune versions of a model in an object store.",
        epilog=_EXIT_CODES,
        formatter_class=_Formatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_writers(commands)
    _add_readers(commands)
    return parser


def _add_writers(commands: _Commands) -> None:
    """Add the commands that change a store."""
    added = _command(
        commands,
        "publish",
        run_publish,
        "publish a folder as the next version of a model",
        "publish package --model xception --label stable --note 'retrained on May data'",
        f"publish package --model xception --sign key.pem     # an encrypted key: {PASSWORD_VARIABLE}=…",
    )
    added.add_argument("folder", metavar="DIR", type=Path, help="holds manifest.json and the files it lists")
    added.add_argument("--model", metavar="NAME", required=True, help="name of the model")
    added.add_argument(
        "--label", metavar="LABEL", action="append", default=[], help="point this label to it; may be repeated"
    )
    added.add_argument(
        "--sign",
        metavar="KEY",
        type=Path,
        help=f"sign it with this private key: PEM, elliptic curve; ${PASSWORD_VARIABLE} opens an encrypted one",
    )
    _note(added)

    added = _command(
        commands,
        "label",
        run_label,
        "point a label to a version, forward or back",
        "label xception stable 3",
        "label xception stable canary     # where canary points now",
    )
    added.add_argument("model", metavar="NAME")
    added.add_argument("label", metavar="LABEL", help="such as stable or canary")
    added.add_argument("version", metavar="VERSION", help="a number, another label, or sha256:DIGEST of a manifest")
    _note(added)

    added = _command(
        commands,
        "unlabel",
        run_unlabel,
        "take a label away; the version stays",
        "unlabel xception canary --note 'became stable'",
        details="There is no rollback of it after that, and `prune` keeps no version for it; `label` begins it anew.",
    )
    added.add_argument("model", metavar="NAME")
    added.add_argument("label", metavar="LABEL")
    _note(added)

    added = _command(
        commands,
        "rollback",
        run_rollback,
        "point a label back to where it stood before",
        "rollback xception stable --note 'scores look wrong'",
        details="A second rollback goes one further back, and never forth again; `label` goes anywhere.",
    )
    added.add_argument("model", metavar="NAME")
    added.add_argument("label", metavar="LABEL")
    _note(added)

    added = _command(
        commands,
        "prune",
        run_prune,
        "delete old versions; says which ones unless --yes is given",
        "prune xception --keep 5",
        "prune xception --keep 5 --yes",
        details="Kept are the newest N, what a label points to, and what a rollback of a label would go back to. "
        "What publishes left that were interrupted more than a day ago goes too. `unlabel` ends what a label keeps.",
    )
    added.add_argument("model", metavar="NAME")
    added.add_argument("--keep", metavar="N", type=int, required=True, help="how many of the newest versions stay")
    added.add_argument("--yes", action="store_true", help="really delete")
    _note(added)


def _add_readers(commands: _Commands) -> None:
    """Add the commands that leave a store as it is."""
    _command(commands, "models", run_models, "list the models in the store", "models --store s3://bucket/models")

    added = _command(commands, "versions", run_versions, "list the versions of a model", "versions xception")
    added.add_argument("model", metavar="NAME")

    added = _command(
        commands,
        "history",
        run_history,
        "list the changes of a model's labels, the oldest first",
        "history xception",
        "history xception --label stable",
    )
    added.add_argument("model", metavar="NAME")
    added.add_argument("--label", metavar="LABEL", help="only the changes of this one")

    added = _command(
        commands,
        "show",
        run_show,
        "show what a version is: digest, labels, signature, variants, files",
        "show xception",
        "show xception:3 --public-key key.pub",
    )
    added.add_argument("reference", metavar="NAME[:REF]", help=_REFERENCE)
    _public_key(added)

    added = _command(
        commands,
        "pull",
        run_pull,
        "pull a version, verified, into the cache or a folder",
        "pull xception:canary",
        "pull xception:stable --variant openvino/int8",
        "pull xception:3 --output folder --public-key key.pub",
    )
    added.add_argument("reference", metavar="NAME[:REF]", help=_REFERENCE)
    target = added.add_mutually_exclusive_group()
    target.add_argument("--output", metavar="DIR", type=Path, help="a new folder, instead of the cache")
    target.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        help="default: $MODEL_CACHE_DIR, or ~/.cache/xception-service/models",
    )
    added.add_argument(
        "--variant",
        metavar="NAME",
        help="only what serving this variant takes, such as openvino/int8; into the cache",
    )
    _public_key(added)

    added = _command(
        commands,
        "verify",
        run_verify,
        "hash every file of a folder, or of a version in the store",
        "verify folder",
        "verify xception:stable --public-key key.pub",
    )
    added.add_argument("target", metavar="PATH|NAME[:REF]", help=f"a folder that exists, or {_REFERENCE}")
    _public_key(added)


def _command(
    commands: _Commands,
    name: str,
    run: Callable[[argparse.Namespace, Progress], Answer],
    text: str,
    *examples: str,
    details: str = "",
) -> argparse.ArgumentParser:
    """Add a command with what all of them have."""
    lines = "\n".join(f"  python -m model_store {example}" for example in examples)
    added = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {details}".strip(),
        epilog=f"examples:\n{lines}",
        formatter_class=_Formatter,
    )
    added.add_argument(
        "--store",
        metavar="URL",
        help=f"file:///folder, s3://bucket/prefix, gs://…, az://…, or to read only https://host/folder ({_STORE})",
    )
    added.add_argument("--json", action="store_true", help="answer with one JSON document on stdout")
    added.add_argument("--quiet", action="store_true", help="show no progress")
    added.set_defaults(run=run)
    return added


def _note(command: argparse.ArgumentParser) -> None:
    command.add_argument("--note", metavar="TEXT", help="why, for whoever reads the history; one line")


def _public_key(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--public-key",
        metavar="FILE",
        help="take only what is signed with the private key to this one: PEM (default: $MODEL_PUBLIC_KEY)",
    )


if __name__ == "__main__":
    sys.exit(main())
