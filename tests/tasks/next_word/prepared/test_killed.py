"""``hashfed data prepare``, killed at any moment."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hashfed.data import read_texts
from hashfed.tasks.facts import digest
from hashfed.tasks.next_word.clients import build_federated_text
from hashfed.tasks.next_word.prepared.check import check_folder
from hashfed.tasks.next_word.prepared.load import load_prepared
from hashfed.tasks.next_word.task import NextWordSettings
from prepared_texts import folder_settings
from small import write_texts

MOMENTS = 10


@pytest.mark.slow
def test_a_killed_preparation_leaves_no_folder_or_all_of_it(tmp_path: Path) -> None:
    source, folder = write_texts(tmp_path / "texts.jsonl", clients=20_000), tmp_path / "folder"
    command = [sys.executable, "-m", "hashfed", "data", "prepare", str(source), str(folder)]
    command += ["--data.vocabulary", "40"]
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - start
    expected = digest(build_federated_text(read_texts(str(source)), NextWordSettings(vocabulary=40)))
    check_folder(folder)
    assert digest(load_prepared(folder_settings(folder), "test")) == expected
    rng, left = random.Random(0), 0
    for _ in range(MOMENTS):
        if folder.exists():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            time.sleep(rng.uniform(0.2, 1.0) * whole)
            process.kill()
        left += (tmp_path / ".folder.preparing").exists()
        if folder.exists():
            check_folder(folder)
            assert digest(load_prepared(folder_settings(folder), "test")) == expected
    assert left > 0
    # What the last one left is in nobody's way.
    if not folder.exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    check_folder(folder)
    assert not (tmp_path / ".folder.preparing").exists()
    assert digest(load_prepared(folder_settings(folder), "test")) == expected
