import signal
from pathlib import Path

import pytest
from hypothesis import settings

from small import write_texts

# No deadline: the time of one example says nothing on a busy machine. The same examples every time.
settings.register_profile("hashfed", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("hashfed")

# What was started in the background or with nohup ignores these, and so would the processes under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON Lines file of 24 clients."""
    return write_texts(tmp_path_factory.mktemp("data") / "small.jsonl")
