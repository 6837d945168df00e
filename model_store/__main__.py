"""The command line: `python -m model_store`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .commands import (
    Answer,
    run_label,
    run_models,
    run_publish,
    run_pull,
    run_show,
    run_verify,
    run_versions,
)
from .errors import StoreError, UsageError
from .progress import Progress, progress_on

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""

_EXIT_CODES = """\
exit codes: 0 done · 2 cannot be meant · 3 not found · 4 bytes differ from what was promised ·
5 another writer was first · 6 access denied · 7 store unreachable · 8 local disk · 130 interrupted

S3 settings come from the usual variables: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_S3_FORCE_PATH_STYLE."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


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
        description="Publish, list, pull and verify versions of a model in an object store.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = _Parser(add_help=False)
    common.add_argument(
        "--store", metavar="URL", help="file:///folder or s3://bucket/prefix (default: $MODEL_STORE_URL)"
    )
    common.add_argument("--json", action="store_true", help="answer with one JSON document on stdout")
    common.add_argument("--quiet", action="store_true", help="show no progress")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace, Progress], Answer], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[common], help=text, description=text)
        added.set_defaults(run=run)
        return added

    reference = "NAME, NAME:VERSION or NAME:LABEL (default label: stable)"

    added = command("publish", run_publish, "publish a folder as the next version of a model")
    added.add_argument("folder", metavar="DIR", type=Path, help="holds manifest.json and the files it lists")
    added.add_argument("--model", metavar="NAME", required=True, help="name of the model")
    added.add_argument(
        "--label", metavar="LABEL", action="append", default=[], help="point this label to it; may be repeated"
    )

    added = command("label", run_label, "point a label to a version, forward or back")
    added.add_argument("reference", metavar="NAME:REF", help=reference)
    added.add_argument("label", metavar="LABEL", help="such as stable or canary")

    command("models", run_models, "list the models in the store")

    added = command("versions", run_versions, "list the versions of a model")
    added.add_argument("model", metavar="NAME")

    added = command("show", run_show, "show what a version is: digest, labels, variants, files")
    added.add_argument("reference", metavar="NAME[:REF]", help=reference)

    added = command("pull", run_pull, "pull a version, verified, into the cache or a folder")
    added.add_argument("reference", metavar="NAME[:REF]", help=reference)
    target = added.add_mutually_exclusive_group()
    target.add_argument("--output", metavar="DIR", type=Path, help="a new folder, instead of the cache")
    target.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        help="default: $MODEL_CACHE_DIR, or ~/.cache/xception-service/models",
    )

    added = command("verify", run_verify, "hash every file of a folder, or of a version in the store")
    added.add_argument("target", metavar="PATH|NAME[:REF]", help=f"a folder that exists, or {reference}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
