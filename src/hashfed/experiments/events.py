"""TensorBoard events of a run."""

from pathlib import Path
from typing import Any

from hashfed.errors import HashfedError


class Events:
    """Writes the scalars of metrics lines to ``events/``."""

    def __init__(self, folder: Path, done: int) -> None:
        """Continue after round ``done``; what an interrupted run wrote beyond it is hidden."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise HashfedError(
                "tensorboard = true: needs the package tensorboard (pip install 'hashfed[tensorboard]')"
            ) from None
        self._writer = SummaryWriter(str(folder / "events"), purge_step=done + 1)

    def write(self, metrics: dict[str, Any]) -> None:
        """All numbers of one round."""
        for name, value in metrics.items():
            if isinstance(value, dict):
                for inner, number in value.items():
                    self._writer.add_scalar(f"{name}/{inner}", number, metrics["round"])
            elif name != "round":
                self._writer.add_scalar(f"train/{name}", value, metrics["round"])

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
