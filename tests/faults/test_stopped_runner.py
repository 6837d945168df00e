"""What callers leave behind who hang up while the runner stands still: nothing that stays."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from contextlib import suppress

from service.settings import MIB
from tests.server import Demo

from .versions import wait_until

IMAGES = 64
SIDE = 71

STORM_S = 4.0
"""Shorter than it takes the edge to see that the runner is silent."""

STAYS_BYTES = 160 * MIB
"""What the edge may have grown by in the end; it was a gigabyte where all that they had sent stayed."""


def test_those_who_hang_up_take_their_pixels_with_them(demo: Demo) -> None:
    pixels = bytes(IMAGES * SIDE * SIDE * 3)
    tensor = {"name": "pixels", "shape": [IMAGES, SIDE, SIDE, 3], "datatype": "UINT8"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(pixels)}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    over = threading.Event()
    with demo() as server:
        path = "/v2/models/xception/infer"
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(head) + len(pixels)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join([*lines, "", ""]).encode() + head + pixels
        assert server.client.post(path, content=head + pixels, headers=headers).status_code == 200

        def hang_up() -> None:
            while not over.is_set():
                with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=5) as caller:
                    caller.sendall(request)
                    time.sleep(0.01)

        edge, runner = server.edge(), server.runner()
        before = edge.memory_info().rss
        runner.send_signal(signal.SIGSTOP)
        callers = [threading.Thread(target=hang_up) for _ in range(8)]
        for caller in callers:
            caller.start()
        time.sleep(STORM_S)
        over.set()
        for caller in callers:
            caller.join()
        runner.wait(30)  # It is killed by the edge, and replaced.
        server.wait_for("/readyz")
        assert server.client.post(path, content=head + pixels, headers=headers).status_code == 200
        assert server.edge().pid == edge.pid
        wait_until(lambda: edge.memory_info().rss - before < STAYS_BYTES)
