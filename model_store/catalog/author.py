"""The author of records in a store."""

from __future__ import annotations

import getpass
import os
import socket


def author() -> str:
    """Return the user of this process as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as containers like to run
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
