"""Answer every request with 429 and do nothing else: `python -m benchmarks.servers.bare_refuser PORT`.

The least that a rejection can cost.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

_BODY = b'{"error":"busy"}'
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"retry-after", b"1"),
    (b"content-length", str(len(_BODY)).encode()),
]


async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Reject a request without reading it."""
    await send({"type": "http.response.start", "status": 429, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    uvicorn.run(refuse, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")
