"""TensorBoard events of a run."""

from collections.abc import Iterator, Mapping
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

    def write(self, metrics: Mapping[str, Any]) -> None:
        """One line of ``metrics.jsonl``: its numbers as scalars, its texts as texts.

        Raises:
            HashfedError: where the disk is full; never for what the line holds.

        """
        round = metrics["round"]
        try:
            for tag, number in scalars(metrics).items():
                self._writer.add_scalar(tag, number, round)
            for tag, text in texts(metrics).items():
                self._writer.add_text(tag, text, round)
        except OSError as error:
            raise self._problem(error) from None

    def close(self) -> None:
        """Flush and close.

        Raises:
            HashfedError: where the disk is full.

        """
        try:
            self._writer.close()
        except OSError as error:
            raise self._problem(error) from None

    def _problem(self, error: OSError) -> HashfedError:
        return HashfedError(f"{self._writer.log_dir}: cannot be written ({error.strerror or error})")


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line by tag: ``train/NAME``, those of a group ``GROUP/NAME``.

    Of a group of texts, such as ``failed``, how many there are: 0 is not written.
    """
    found: dict[str, float] = {}
    for tag, value in _leaves(metrics):
        if isinstance(value, int | float):
            found[tag] = float(value)
    for name, group in metrics.items():
        if isinstance(group, Mapping) and any(isinstance(value, str) for value in group.values()):
            found[f"train/{name}"] = float(len(group))
    return found


def texts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a line by tag, those of a group as one: a line of Markdown for each."""
    found: dict[str, list[str]] = {}
    for tag, value in _leaves(metrics):
        if isinstance(value, str):
            group, _, name = tag.partition("/")
            found.setdefault(group, []).append(f"    {name}: {value}")
    return {group: "\n".join(lines) for group, lines in found.items()}


def _leaves(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All values that are no group by tag, the round's number left out."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _inner(name, value)
        elif name != "round":
            yield f"train/{name}", value


def _inner(group: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _inner(f"{group}/{name}", value)
        else:
            yield f"{group}/{name}", value
