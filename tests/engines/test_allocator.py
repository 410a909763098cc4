import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import numpy as np
from pathlib import Path
from hashfed.engines.allocator import give_back_gaps, keep_memory, return_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

def freed():
    # One hundred arrays of 1 MB, of which the last stays: the heap cannot simply be cut off behind it.
    arrays = [np.ones(125_000) for _ in range(100)]
    last = arrays[-1]
    before = resident()
    del arrays
    return before, last

{first}()
before, last = freed()
kept = resident()
give_back_gaps()
print(before - kept, before - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
@pytest.mark.parametrize(("first", "kept"), [("keep_memory", True), ("return_memory", False)])
def test_freed_memory_is_kept_or_given_back(first: str, kept: bool) -> None:
    command = [sys.executable, "-c", SCRIPT.replace("{first}", first)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    at_once, after_gaps = map(int, done.stdout.split())
    assert at_once < 10 if kept else at_once > 90
    assert after_gaps > 90
