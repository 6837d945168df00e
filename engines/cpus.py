"""The CPUs available to this process, and the precisions they support."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_CPUINFO = Path("/proc/cpuinfo")

_INSTRUCTIONS = {
    "bf16": {"avx512_bf16", "amx_bf16"},
    "int8": {"avx512_vnni", "avx_vnni", "amx_int8"},
}
"""CPU flags of Linux for the instructions of a precision; one of them is enough.

Without them OpenVINO emulates bfloat16 at half the speed of float32, and int8 products saturate at 16 bits, so that the
scores are not the ones whose accuracy was measured.
"""


def _cgroup_quota(root: Path) -> float | None:
    """Return the CPU quota of the container in cores, or None if there is none (cgroup v2, then v1)."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return limit / int((root / "cpu/cpu.cfs_period_us").read_text()) if limit > 0 else None
    except (OSError, ValueError):
        return None


def available_cpus(root: Path = _CGROUP) -> int:
    """Return the number of CPUs to plan threads for: affinity and container quota, at least 1.

    A quota of 1.5 cores counts as 2: a thread more than the quota costs less than a core left idle.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(root)
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def cpu_features(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Return the CPU flags of Linux for the first CPU, such as `avx512_vnni`; an empty set on other systems."""
    try:
        with cpuinfo.open(encoding="utf-8") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(flags.partition(":")[2].split())


def native_precisions(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Return the precisions with native instructions: always `fp32`; `bf16` and `int8` if the CPU has them."""
    features = cpu_features(cpuinfo)
    return frozenset({"fp32"} | {name for name, any_of in _INSTRUCTIONS.items() if any_of & features})
