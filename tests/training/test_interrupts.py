"""A Ctrl-C is not lost if native code swallows or replaces the exception."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest

from training.interrupts import Interrupts


def swallowed() -> None:
    with Interrupts() as interrupts:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def replaced() -> None:
    with Interrupts():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise TypeError from None


def other_error() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        raise ValueError("other")


@pytest.mark.parametrize("block", [swallowed, replaced])
def test_the_block_ends_with_keyboard_interrupt(block: type) -> None:
    with pytest.raises(KeyboardInterrupt):
        block()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(ValueError, match="other"):
        other_error()
