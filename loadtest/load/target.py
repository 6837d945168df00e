"""Whether there is a service to put load on."""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import urlsplit

_TIMEOUT_S = 5.0


class TargetError(Exception):
    """There is no service to ask; the message is one line that says why."""


def require_ready(url: str) -> None:
    """Return if a service is ready at `url`; one that has no `/readyz` is taken to be.

    Raises:
        TargetError: Nothing answers there, or it is not ready.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise TargetError(f"HOST={url}: give the address of the service, as in http://127.0.0.1:3000")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/readyz", timeout=_TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        if error.code == 503:
            raise TargetError(f"The service at {url} is not ready; {url}/v2/health/ready says why") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise TargetError(
            f"No service answers at {url} ({reason}). Start one with 'make serve', or give HOST=http://…"
        ) from None
