"""Start a real S3 server on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def s3_server() -> Iterator[str]:
    """Start a server and yield the URL of an empty store in it.

    Raises:
        SystemExit: This is no checkout, or the server is not installed.
    """
    try:
        from tests.ceph import Ceph
    except ImportError as error:
        raise SystemExit(f"a server can be started from a checkout only ({error}); name one with --store") from error
    with Ceph() as ceph:
        os.environ.update({**ceph.owner.environment(ceph.endpoint), "NO_PROXY": "127.0.0.1,localhost"})
        yield f"s3://{ceph.make_bucket()}/models"
