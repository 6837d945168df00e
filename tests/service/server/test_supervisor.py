"""What is used of circus is still there, and the patch does what it says; the whole is in `tests/faults`."""

from __future__ import annotations

import inspect
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.sockets import CircusSockets

from service.server import supervisor
from tests.server import ROOT


@pytest.fixture
def unpatched() -> Iterator[None]:
    methods = Arbiter.__init__, Arbiter.manage_watchers, Arbiter.stop
    yield
    Arbiter.__init__, Arbiter.manage_watchers, Arbiter.stop = methods


class Loop:
    def __init__(self) -> None:
        self.later: list[tuple[Any, ...]] = []

    def call_later(self, *call: Any) -> None:
        self.later.append(call)


class Stub:
    """Stands for an arbiter; `Arbiter.stop` itself needs running processes."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.sockets = CircusSockets()
        self._stopping = False
        self.closed = 0
        self.sockets.close_all = self.close

    def close(self) -> None:
        self.closed += 1


def test_what_is_used_is_there() -> None:
    assert "check_delay" in inspect.signature(Arbiter.__init__).parameters
    for method in (Arbiter.manage_watchers, Arbiter.stop):
        assert list(inspect.signature(method).parameters) == ["self"]
    source = inspect.getsource(Arbiter)
    for attribute in ("_stopping", "sockets", "loop"):
        assert f"self.{attribute} = " in source
    assert callable(CircusSockets.close_all)
    assert "ConflictError" in inspect.getsource(sys.modules["circus.util"])


@pytest.mark.usefixtures("unpatched")
def test_processes_are_checked_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setattr(Arbiter, "__init__", lambda arbiter, **options: started.update(options))
    supervisor.patch_supervisor()
    Arbiter(watchers=[], check_delay=10)
    assert started == {"watchers": [], "check_delay": 0.25}


@pytest.mark.usefixtures("unpatched")
def test_a_busy_supervisor_is_told_to_stop_again(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = [True, False]

    def stop(arbiter: Any) -> str:
        if busy.pop(0):
            raise ConflictError("arbiter is already running arbiter_start_watchers command")
        return "stopping"

    monkeypatch.setattr(Arbiter, "stop", stop)
    monkeypatch.setattr(Arbiter, "manage_watchers", stop)
    supervisor.patch_supervisor()
    arbiter = Stub()
    assert Arbiter.stop(arbiter) is None
    assert arbiter.closed == 0
    ((_, again, same),) = arbiter.loop.later
    assert again(same) == "stopping"
    assert arbiter.closed == 1
    busy.append(True)
    assert Arbiter.manage_watchers(arbiter) is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_only_inherited_tcp_listeners_are_closed() -> None:
    code = "from service.server.supervisor import close_inherited_listeners as close; close()\n"
    code += "import os, sys\nfor number in map(int, sys.argv[1:]):\n"
    code += "    try: os.fstat(number); print('open')\n    except OSError: print('closed')\n"
    listener, unix, connected = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX), socket.socket()
    with listener, unix, connected:
        unix.bind("\0service-test-" + str(os.getpid()))
        unix.listen()
        connected.connect(listener.getsockname())
        numbers = [one.fileno() for one in (listener, unix, connected)]
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, numbers)],
            cwd=ROOT,
            pass_fds=numbers,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.split() == ["closed", "open", "open"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_process_ends_when_its_parent_was_killed() -> None:
    child = "from service.server.supervisor import end_with_supervisor as f; f(); print('up', flush=True)\n"
    child += "import signal\nsignal.pause()\n"
    parent = "import subprocess, sys, signal\n"
    parent += f"subprocess.Popen([sys.executable, '-c', {child!r}])\nsignal.pause()\n"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == b""  # Its end of the pipe is closed once the child has ended, too.
