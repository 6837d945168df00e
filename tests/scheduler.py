"""How pytest-xdist spreads the tests over its workers.

`--dist loadgroup` would do the same by marks, but does nothing under pytest 9.2 (pytest-xdist issue 1386).
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SHARED = {
    "server": ("contract/test_http", "contract/test_logging", "contract/test_openapi", "contract/test_tfserving"),
    "v2_server": ("contract/test_open_inference", "contract/test_open_inference_errors"),
    "faulty": ("faults/test_paused_runner", "faults/test_processes", "faults/test_slow_clients", "faults/test_stop"),
    "default_server": ("hostile/test_broken_images", "hostile/test_json_memory"),
    "monitored": ("deploy/test_alerts", "deploy/test_dashboard"),
}
"""Files that share a server, by the name of its fixture."""

_GROUPS = {f"tests/{file}.py": name for name, files in SHARED.items() for file in files}


class SharedServerScheduling(LoadScopeScheduling):  # type: ignore[misc]  # It has no type information.
    """Sends all tests of a file to one worker, and all files that share a server to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _GROUPS.get(file, file)
