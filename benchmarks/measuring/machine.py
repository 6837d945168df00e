"""Describe the machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
"""Features of an x86-64 CPU that determine how fast a network runs."""


def describe_machine() -> str:
    """Return one line: cores, the CPU's name and its features, and the operating system."""
    fields: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", "").split()
    features = ", ".join(name for name in _FEATURES if name in flags) or "features unknown"
    return f"{os.cpu_count()} cores, {fields.get('model name', platform.machine())} ({features}), {platform.system()}"
