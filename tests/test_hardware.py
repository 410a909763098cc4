import os
from pathlib import Path

import pytest

from hashfed.engines.local.simulator import workers_of
from hashfed.hardware import cpu_quotas, memory_limits, show_bytes, usable_cores
from small import small_config


def tree(root: Path, files: dict[str, str]) -> Path:
    """A file system of control groups."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n1:name=systemd:/docker/abc\n"


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        ({}, []),
        # v2: of a container, of a nested group and those above it, of one whose folder cannot be seen
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "sys/fs/cgroup/a.slice/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "400000 100000\n",
            },
            [4.0, 0.5],
        ),
        ({"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, [3.0]),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/unified/cpu.max": "200000 100000\n"}, [2.0]),
        # v1: the folder of the host is not there, the container's own is
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            [2.5],
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            [],
        ),
        # damaged
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "many\n"}, []),
        ({"proc/self/cgroup": "nonsense\n\n"}, []),
    ],
)
def test_cores_of_control_groups(files: dict[str, str], quotas: list[float], tmp_path: Path) -> None:
    assert cpu_quotas(tree(tmp_path, files)) == quotas


def test_a_file_that_is_not_readable_sets_no_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n"})
    (root / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    assert cpu_quotas(root) == []


def test_cores_follow_affinity_and_quota(tmp_path: Path) -> None:
    half = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert usable_cores(half) == 1
    assert usable_cores(tmp_path / "none") == len(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path / "none") == 1
    finally:
        os.sched_setaffinity(0, before)


def test_no_more_workers_than_clients_in_the_cohort(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashfed.engines.local.simulator.usable_cores", lambda: 4)
    found = [workers_of(small_config(texts, workers=None, cohort=cohort)) for cohort in (1, 3, 9)]
    assert found == [1, 3, 4]
    assert workers_of(small_config(texts, workers=7, cohort=2)) == 7


def test_free_memory_by_what_limits_it(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5 kB\nSwapFree: 1 kB\nHugePages_Total: 0\n",
            "proc/self/cgroup": "0::/x\n",
            "sys/fs/cgroup/x/memory.max": "4000\n",
            "sys/fs/cgroup/x/memory.current": "3000\n",
            "sys/fs/cgroup/x/memory.stat": "anon 1\ninactive_file 500\nactive_file 100\n",
            "sys/fs/cgroup/memory.max": "max\n",
        },
    )
    assert memory_limits(root) == [(6144, "this machine"), (2624, "its container or control group")]
    old = tree(
        tmp_path / "v1",
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "4100\n",
        },
    )
    assert memory_limits(old) == [(0, "its container or control group")]


def test_bytes_in_words() -> None:
    counts = (7, 2048, 3 * 2**20, 1.5 * 2**30, 2**41)
    assert [show_bytes(count) for count in counts] == ["7 bytes", "2 KiB", "3 MiB", "1.5 GiB", "2 TiB"]
