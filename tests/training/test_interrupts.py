"""A Ctrl-C that native code swallows is not lost."""

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


def made_another() -> None:
    with Interrupts():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise TypeError from None


def wrong_in_itself() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        raise ValueError("of its own")


@pytest.mark.parametrize("block", [swallowed, made_another])
def test_the_block_ends_with_it(block: type) -> None:
    with pytest.raises(KeyboardInterrupt):
        block()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_nothing_changes() -> None:
    with pytest.raises(ValueError, match="of its own"):
        wrong_in_itself()
