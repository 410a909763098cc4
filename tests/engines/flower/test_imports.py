"""What a node's process need not load: Flower starts one for each message."""

import subprocess
import sys

OF_OTHERS = {
    "hashfed.cli",
    "hashfed.cost",
    "hashfed.deploy",
    "hashfed.report",
    "hashfed.reproduction",
    "hashfed.runs",
}
WHEN_NEEDED = {"chitchat_dataset", "faiss", "h5py", "hnswlib", "regex", "ruamel", "sqlite3"}
"""For some data and methods, or for files."""
NEVER = {"jinja2", "matplotlib", "plotly", "sympy", "tensorboard", "tomli_w", "torch._dynamo", "uvicorn"}


def test_a_node_loads_only_what_every_message_needs() -> None:
    code = "import sys, hashfed.engines.flower.client_app; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "hashfed.engines.client_round" in loaded
    assert (OF_OTHERS | WHEN_NEEDED | NEVER) & set(loaded) == set()
