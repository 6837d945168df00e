"""Clients that disconnect while the runner is stopped leave nothing behind in the memory of the edge."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from contextlib import suppress

from service.settings import MIB

from .faulty_service import FaultyService
from .versions import wait_until

IMAGES = 64
SIDE = 71

STORM_S = 4.0
"""Shorter than it takes the edge to see that the runner is silent."""

STAYS_BYTES = 160 * MIB
"""What the edge may have grown by in the end; it was a gigabyte where all that they had sent stayed."""


def test_pixels_of_clients_that_disconnect_are_freed(faulty: FaultyService) -> None:
    pixels = bytes(IMAGES * SIDE * SIDE * 3)
    tensor = {"name": "pixels", "shape": [IMAGES, SIDE, SIDE, 3], "datatype": "UINT8"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(pixels)}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    over = threading.Event()
    server = faulty.server
    path = "/v2/models/xception/infer"
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(head) + len(pixels)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join([*lines, "", ""]).encode() + head + pixels
    assert server.client.post(path, content=head + pixels, headers=headers).status_code == 200

    def disconnect() -> None:
        while not over.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
                client.sendall(request)
                time.sleep(0.01)

    edge, runner = server.edge(), server.runner()
    before = edge.memory_info().rss
    runner.send_signal(signal.SIGSTOP)
    clients = [threading.Thread(target=disconnect) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(STORM_S)
    over.set()
    for client in clients:
        client.join()
    runner.wait(30)  # It is killed by the edge, and replaced.
    server.wait_for("/readyz")
    assert server.client.post(path, content=head + pixels, headers=headers).status_code == 200
    assert server.edge().pid == edge.pid
    wait_until(lambda: edge.memory_info().rss - before < STAYS_BYTES)
