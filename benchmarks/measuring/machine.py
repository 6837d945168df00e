"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
"""The features of an x86-64 CPU that decide how fast a network runs."""


def describe_machine() -> str:
    """Return one line: cores, the CPU's name, and those of its features that matter here."""
    fields: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", "").split()
    features = ", ".join(name for name in _TELLING if name in flags) or "features unknown"
    return f"{os.cpu_count()} cores, {fields.get('model name', platform.machine())} ({features}), {platform.system()}"
