"""A reader of HTTP/1 responses that parses little more than where they end."""

from __future__ import annotations

_MAX_HEAD_BYTES = 2**16


class ProtocolError(Exception):
    """The bytes are no HTTP/1 response that this client understands."""


class ResponseReader:
    """Assemble one HTTP/1 response from the pieces in which it arrives."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._body_at = 0
        """Offset of the body; 0 until the head is complete."""
        self._length: int | None = None
        """Of the body, in bytes; None where it ends with the connection, or is chunked."""
        self._chunked = False
        self._chunk_at = 0
        self._chunks = bytearray()
        self.status = ""
        self.keeps_open = True
        """Whether the server will take another request on this connection."""

    def feed(self, piece: bytes | memoryview) -> bool:
        """Add bytes and return whether the response is complete.

        Raises:
            ProtocolError: This is no such response, or more than one.
        """
        self._data += piece
        if not self._body_at and not self._read_head():
            return False
        if self._chunked:
            return self._read_chunks()
        if self._length is None:
            return False
        missing = self._body_at + self._length - len(self._data)
        if missing < 0:
            raise ProtocolError(f"{-missing} bytes after the response")
        return missing == 0

    def ends_with_connection(self) -> bool:
        """Return whether the response is complete now that the server has closed the connection."""
        return bool(self._body_at) and self._length is None and not self._chunked

    @property
    def body(self) -> bytes:
        """Return the body of a complete response."""
        return bytes(self._chunks if self._chunked else self._data[self._body_at :])

    def header(self, name: bytes) -> bytes:
        """Return the value of a header in lower case; empty where there is none. The name is in lower case."""
        return _header(bytes(self._data[: self._body_at]).lower(), name)

    def _read_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > _MAX_HEAD_BYTES:
                raise ProtocolError(f"the head has more than {_MAX_HEAD_BYTES} bytes")
            return False
        head = bytes(self._data[:end]).lower()
        if not head.startswith(b"http/1.") or not head[9:12].isdigit():
            raise ProtocolError(f"not an HTTP/1 response: {head[:40]!r}")
        self.status = head[9:12].decode()
        self._body_at = end + 4
        connection = _header(head, b"connection")
        self.keeps_open = b"close" not in connection if head[5:8] != b"1.0" else b"keep-alive" in connection
        length = _header(head, b"content-length")
        if b"chunked" in _header(head, b"transfer-encoding"):
            self._chunked, self._chunk_at = True, self._body_at
        elif length:
            if not length.isdigit():
                raise ProtocolError(f"Content-Length: {length[:40]!r}")
            self._length = int(length)
        else:
            self.keeps_open = False
        return True

    def _read_chunks(self) -> bool:
        while (line_end := self._data.find(b"\r\n", self._chunk_at)) >= 0:
            try:
                size = int(self._data[self._chunk_at : line_end].split(b";")[0], 16)
            except ValueError:
                raise ProtocolError(f"a chunk of the size {bytes(self._data[self._chunk_at : line_end])!r}") from None
            start, stop = line_end + 2, line_end + 2 + size
            if size == 0:  # Trailers, which nobody sends, would follow.
                return len(self._data) >= stop + 2
            if len(self._data) < stop + 2:
                return False
            self._chunks += self._data[start:stop]
            self._chunk_at = stop + 2
        return False


def _header(head: bytes, name: bytes) -> bytes:
    """Return the value of a header in a head of lower-case letters; empty where there is none."""
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()
