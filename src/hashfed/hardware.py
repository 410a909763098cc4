"""What this process may use of its machine: cores and memory, within a container's limits."""

import math
import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """How many cores are worth a process each: those it may run on, and at most the container's share.

    Args:
        root: of the file system that holds ``proc`` and ``sys``.

    """
    count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    return max(1, min([count, *(math.ceil(share) for share in cpu_quotas(root))]))


def cpu_quotas(root: Path = Path("/")) -> list[float]:
    """The limits, in cores, that the process's control groups (Linux, v1 and v2) and those above set."""
    found = []
    for folder in _control_groups(root, "cpu"):
        words = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        try:
            quota, period = (int(word) for word in words)
        except ValueError:  # "max", or no such file
            continue
        if quota > 0 and period > 0:
            found.append(quota / period)
    return found


def memory_limits(root: Path = Path("/")) -> list[tuple[int, str]]:
    """Bytes that can still be had, with swap, and what limits them: the machine, its container, a ulimit."""
    found: list[tuple[int, str]] = []
    free: dict[str, int] = {}
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        free[name] = 1024 * int((rest.split() or ["0"])[0])
    swap = free.get("SwapFree", 0)
    if "MemAvailable" in free:
        found.append((free["MemAvailable"] + swap, "this machine"))
    for folder in _control_groups(root, "memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            try:
                most, now = (int(word) for name in (limit, used) for word in _words(folder / name))
            except ValueError:  # "max", or no such file
                continue
            found.append((max(0, most - now + _cached(folder) + swap), "its container or control group"))
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _words(root / "proc/self/statm")
    if space != resource.RLIM_INFINITY and pages:
        taken = int(pages[0]) * resource.getpagesize()
        found.append((max(0, space - taken), f"ulimit -v {space // 1024}"))
    return found


def exceeds_memory(size: int) -> bool:
    """Whether so many bytes cannot be had."""
    return any(size > free for free, _ in memory_limits())


def free_memory(root: Path = Path("/")) -> str:
    """How much memory is free, in words, by its tightest limit."""
    limits = memory_limits(root)
    if not limits:
        return "more than is free"
    free, limited_by = min(limits)
    return f"{show_bytes(free)} are free ({limited_by})"


def processor() -> str:
    """What the machine's processor is called."""
    if sys.platform.startswith("linux"):
        for line in _lines(Path("/proc/cpuinfo")):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def show_bytes(count: float) -> str:
    """Such as ``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1024
    return f"{count:,.4g} TiB"


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, as far as they can be seen."""
    base = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        names = (controllers, controller) if controllers else ("", "unified")
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # outside of what the container sees
            parts = []
        for mount in dict.fromkeys(base / name if name else base for name in names):
            for depth in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:depth])


def _cached(folder: Path) -> int:
    """Bytes of files that the kernel gives back when memory is needed."""
    lines = [line.split() for line in _lines(folder / "memory.stat")]
    found = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}
    old = "total_" if "total_inactive_file" in found else ""
    return found.get(f"{old}inactive_file", 0) + found.get(f"{old}active_file", 0)


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
