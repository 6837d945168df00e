"""A process that answers each JSON line of its input with one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self


class JsonLinesProcess:
    """Run a module that calls `serve_lines`, from entering the block to leaving it."""

    def __init__(self, name: str, module: str, *arguments: object, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, *map(str, arguments)]
        self._environment = environment

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent; this process ends with its input.
        )
        self.first: Any = self._read()
        """The first document."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def call(self, request: object) -> Any:
        """Return the response to a request; both are JSON documents.

        Raises:
            SystemExit: The process has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self._process.wait()}; its output above says why")
        return json.loads(line)


def serve_lines(first: object, respond: Callable[[Any], object]) -> None:
    """Write a first document, then respond to each line of the input until it ends."""
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        print(json.dumps(respond(json.loads(line))), flush=True)
