"""The command group, exit codes, and output of errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click

from model_store.errors import StoreError, UsageError

from .reading import history, models, pull, show, verify, versions
from .writing import label, prune, publish, rollback, unlabel

PROGRAM = "python -m model_store"

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""

_EPILOG = """\
Exit codes: 0 done · 2 wrong usage · 3 not found · 4 bytes differ from the manifest, or are not signed ·
5 conflict with another writer · 6 access denied · 7 store unreachable · 8 local disk · 130 interrupted

Endpoints and credentials come from the usual variables of each cloud; for S3 these are AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_S3_FORCE_PATH_STYLE."""

app = click.Group(
    help="Publish, label, pull, verify and prune versions of a model in an object store.",
    epilog=_EPILOG,
    commands=[publish, label, unlabel, rollback, prune, models, versions, history, show, pull, verify],
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: The arguments after the program's name; those of the process by default.
        program: The name of the program in help and error messages.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        with app.make_context(program, words) as context:
            app.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else program
        return _fail(f"{error.format_message().rstrip('.')}; see {path} --help", UsageError.exit_code, as_json)
    except StoreError as error:
        return _fail(str(error), error.exit_code, as_json)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing half-written is visible, run the same again", INTERRUPTED, as_json)
    except BrokenPipeError:
        # The reader left, as `head` does; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _fail(message: str, exit_code: int, as_json: bool) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": message, "exit_code": exit_code}), flush=True)
    return exit_code
