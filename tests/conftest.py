from pathlib import Path

import pytest
from hypothesis import settings

from small import write_texts

# No deadline: the time of one example says nothing on a busy machine. The same examples every time.
settings.register_profile("hashfed", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("hashfed")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON Lines file of 24 clients."""
    return write_texts(tmp_path_factory.mktemp("data") / "small.jsonl")
