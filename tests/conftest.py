import sys
from pathlib import Path

import pytest
from hypothesis import settings

from hashfed import train
from small import small_config, write_texts

# No deadline: the time of one example says nothing on a busy machine. The same examples every time.
settings.register_profile("hashfed", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("hashfed")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON Lines file of 24 clients."""
    return write_texts(tmp_path_factory.mktemp("data") / "small.jsonl")


@pytest.fixture(scope="session")
def trained(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny trained run, not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        # The fresh process that measures a client's memory is not needed here.
        measured = {"memory_baseline": 1, "memory_peak": 2}
        patch.setattr(sys.modules["hashfed.experiments.train"], "measure_device_memory", lambda *_: measured)
        train(small_config(texts, output=str(path)))
    return path
