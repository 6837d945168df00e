from __future__ import annotations

import os
from pathlib import Path

import openvino
import pytest

from engines.cpus import available_cpus, native_precisions


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("text", "cpus"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("9999999 100000", 8), ("?", 8)]
)
def test_quota_of_cgroup_v2(tmp_path: Path, text: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cpus(tmp_path) == cpus


def test_quota_of_cgroup_v1(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("300000")
    assert available_cpus(tmp_path) == 3
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert available_cpus(tmp_path) == 8


def test_without_cgroups_affinity_decides(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "none") == 8


@pytest.mark.parametrize(
    ("flags", "precisions"),
    [
        ("sse4_2 avx2 fma", {"fp32"}),
        ("avx2 avx512f avx512_vnni", {"fp32", "int8"}),
        ("avx512f avx512_bf16 avx512_vnni", {"fp32", "int8", "bf16"}),
        ("avx2 avx_vnni", {"fp32", "int8"}),
        ("amx_tile amx_int8 amx_bf16", {"fp32", "int8", "bf16"}),
    ],
)
def test_precisions_follow_from_the_features_of_the_cpu(tmp_path: Path, flags: str, precisions: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t:\nflags\t\t: other\n")
    assert native_precisions(tmp_path / "cpuinfo") == precisions


def test_where_nothing_is_known_of_the_cpu_only_float32_is_taken(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : fp asimd\n")
    assert native_precisions(tmp_path / "cpuinfo") == native_precisions(tmp_path / "none") == {"fp32"}


def test_openvino_says_the_same_of_this_cpu() -> None:
    says = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert ("BF16" in says) == ("bf16" in native_precisions())
