"""The process behind a socket, and no other."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.ipc.peer import Peer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets tell of their peers on Linux")

LISTEN = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
time.sleep(60)
"""


def test_the_listener_is_killed_once(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    command = [sys.executable, "-c", LISTEN, path]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_UNIX) as client,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        client.connect(path)
        peer = Peer(client)
        assert peer.kill()
        assert process.wait(10) == -signal.SIGKILL
        assert not peer.kill()


def test_one_that_has_ended_already_is_no_error(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    command = [sys.executable, "-c", LISTEN, path]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_UNIX) as client,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        client.connect(path)
        peer = Peer(client)
        process.kill()
        process.wait()
        peer.kill()


def test_nobody_kills_itself_or_another_machine() -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("\0" + "a socket of these tests")
        listener.listen()
        client.connect("\0" + "a socket of these tests")
        assert not Peer(client).kill()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert not Peer(client).kill()
