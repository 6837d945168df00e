"""TLS as BentoML offers it: the edge speaks it, and still reaches its runner."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.model_store.web_server import write_certificate
from tests.server import Demo, Server

from .faulty_service import is_eight
from .traffic import PREDICT, Traffic


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(demo: Demo, certificate: tuple[Path, Path]) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate[0]))  # What every client here trusts.
        with demo(certificate) as running:
            yield running


def test_requests_are_answered(server: Server, eight: bytes) -> None:
    with Traffic(server.url, eight, is_eight) as traffic:
        traffic.wait_for_answers(100)
    assert traffic.tally.answered == traffic.tally.sent, traffic.tally


def test_http_gets_no_answer(server: Server, eight: bytes) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"http://127.0.0.1:{server.port}{PREDICT}", content=eight)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_clients_of_both_versions_are_served(
    server: Server, certificate: tuple[Path, Path], eight: bytes, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.minimum_version = context.maximum_version = version
    answer = httpx.post(server.url + PREDICT, content=eight, verify=context, timeout=60)
    assert answer.status_code == 200
    assert is_eight(answer)


def test_suites_without_forward_secrecy_or_with_sha1_are_refused(
    server: Server, certificate: tuple[Path, Path], eight: bytes
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+SHA1:RSA:@SECLEVEL=0")
    with pytest.raises(httpx.ConnectError):
        httpx.post(server.url + PREDICT, content=eight, verify=context)


def test_a_stop_does_not_wait_for_idle_connections(server: Server, certificate: tuple[Path, Path]) -> None:
    """The last test here: it stops the service."""
    context = ssl.create_default_context(cafile=certificate[0])
    with (
        socket.create_connection(("127.0.0.1", server.port)) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1"),  # It never sends a byte.
    ):
        assert server.stop() == 0  # Within the time after which an orchestrator would kill it.
