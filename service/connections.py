"""How many connections this process may hold, and how they end."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

_GOODBYE_S = 2.0


def allow_connections() -> None:
    """Raise the limit of open files to what this process may ask for; shells often start it with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limit_goodbyes() -> None:
    """Have servers that are opened from now on wait 2 s for a caller to confirm the end of a TLS connection.

    Callers with idle connections often do not. The event loop would wait for 30 s, and hold up a stop until it is
    killed; uvicorn has no setting for it.
    """
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    def create(*arguments: Any, **options: Any) -> Any:
        if options.get("ssl"):
            options["ssl_shutdown_timeout"] = _GOODBYE_S
        return create_server(*arguments, **options)

    loop.create_server = create  # type: ignore[method-assign]
