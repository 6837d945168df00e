"""Rules for the names of models and labels, and for notes."""

from __future__ import annotations

import re

from model_store.errors import UsageError

DEFAULT_LABEL = "stable"
"""The label of a reference that is the name of a model alone."""

MAX_NOTE = 500
"""Characters of a note: a sentence and a link, not a report."""

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LABEL = re.compile(r"[a-z][a-z0-9-]{0,62}")


def check_model_name(name: str) -> str:
    """Return `name` if it is a valid model name.

    Raises:
        UsageError: It is not; the message says what a valid name looks like.
    """
    if not _MODEL.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a model name: it starts with a letter or digit, "
            "then up to 127 letters, digits, '.', '_' or '-'"
        )
    return name


def check_label_name(name: str) -> str:
    """Return `name` if it is a valid label name; a number is not, so that NAME:3 is a version.

    Raises:
        UsageError: It is not; the message says what a valid name looks like.
    """
    if not _LABEL.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a label name: it starts with a lower-case letter, "
            "then up to 62 lower-case letters, digits or '-'"
        )
    return name


def is_model_name(name: str) -> bool:
    """Return whether `name` is a valid model name."""
    return _MODEL.fullmatch(name) is not None


def check_note(note: str | None) -> str | None:
    """Return `note` if it is valid; None means no note.

    Raises:
        UsageError: It is longer than `MAX_NOTE`, or more than one line of text.
    """
    if note is not None and (len(note) > MAX_NOTE or not note.isprintable()):
        raise UsageError(f"a note is one line of at most {MAX_NOTE} characters, without control characters")
    return note
