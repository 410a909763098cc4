"""What every task's settings say of it, for those who know no task."""

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Self

from hashfed.settings import Settings
from hashfed.tasks.protocol import Task


class TaskSettings(Settings):
    """The data, and what is learned of them."""

    task: str
    """What is learned."""
    source: str
    """Where the data are: a name, a file or a folder."""

    size_setting: ClassVar[str]
    """The field that decides how many rows the output table has."""
    longest: ClassVar[str | None] = None
    """The field that is the most positions of an example; None: they have none."""
    names_file: ClassVar[str] = "rows.json"
    """The file of a run's folder that holds the names of the rows."""
    places: ClassVar[tuple[str, ...]] = ("source",)
    """Fields that say where files are on one machine: what these hold counts, not where they are."""
    reading: ClassVar[tuple[str, ...]] = ()
    """Fields that say how files are read, of which likewise what is found counts."""
    named: ClassVar[Collection[str]] = ()
    """Sources that are no files, but names with a meaning on every machine."""

    @abstractmethod
    def build(self) -> Task:
        """The task."""

    def resized(self, value: int) -> Self:
        """With another value of ``size_setting``; the number of rows grows with it."""
        return self.model_copy(update={self.size_setting: value})

    def absolute(self) -> Self:
        """With paths that mean the same in every folder."""
        values = {name: getattr(self, name) for name in self.places}
        paths = {name: path for name, path in values.items() if path is not None and path not in self.named}
        return self.model_copy(update={name: str(Path(path).absolute()) for name, path in paths.items()})
