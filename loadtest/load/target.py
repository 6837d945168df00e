"""Check that the service under test is ready."""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import urlsplit

_TIMEOUT_S = 5.0


class TargetError(Exception):
    """There is no service at the address; the message is one line with the reason."""


def require_ready(url: str) -> None:
    """Return if a service is ready at `url`; one without `/readyz` counts as ready.

    Raises:
        TargetError: There is no server, or it is not ready.
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
