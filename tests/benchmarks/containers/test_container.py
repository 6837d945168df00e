from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.containers.container import Memory

MIB = 2**20


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)
    return folder


def test_memory_is_read_of_cgroups_of_version_1(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        max_usage_in_bytes=f"{700 * MIB}\n",
        stat=f"cache {9 * MIB}\nrss 0\nshmem 0\ntotal_rss {300 * MIB}\ntotal_shmem {20 * MIB}\n",
        oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    assert Memory.read(folder) == Memory(peak_mib=700, own_mib=320, kills=2)


def test_memory_is_read_of_cgroups_of_version_2(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        peak=f"{700 * MIB}\n",
        stat=f"anon {300 * MIB}\nfile {90 * MIB}\nshmem {20 * MIB}\n",
        events="low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n",
    )
    assert Memory.read(folder) == Memory(peak_mib=700, own_mib=320, kills=1)


def test_a_container_that_has_ended_is_told_from_one_that_has_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"memory\.stat"):
        Memory.read(tmp_path / "gone")
