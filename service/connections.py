"""How many connections this process may hold."""

from __future__ import annotations

import resource


def allow_connections() -> None:
    """Raise the limit of open files to what this process may ask for; shells often start it with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
