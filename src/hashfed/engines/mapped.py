"""Tables of a model as files mapped into memory, for models that exceed the RAM or its shared part.

The kernel writes back what was changed and drops what was not used lately, so only the rows at work need
memory. Every process maps the same file: nothing is copied to workers.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from hashfed.errors import HashfedError

MAPPED = ".memory"
"""Their folder in that of a run: a hidden one, for what a killed run leaves there is nothing to keep."""


@dataclass(frozen=True)
class MappedTable:
    """A float32 table in a file.

    Attributes:
        path: of the file.
        shape: of the table.

    """

    path: Path
    shape: tuple[int, ...]

    @classmethod
    def create(cls, path: Path, table: torch.Tensor) -> "MappedTable":
        """Write ``table`` to a new file, or over an old one.

        Raises:
            HashfedError: where the file cannot be written or the disk is too small.

        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for part in table.split(4096):
                    file.write(part.contiguous().numpy().data)
        except OSError as error:
            raise HashfedError(f"{path}: cannot be written ({error.strerror or error})") from None
        return cls(path, tuple(table.shape))

    def open(self) -> torch.Tensor:
        """The table; what is written to it is seen by all who opened it."""
        size = torch.Size(self.shape).numel()
        flat = torch.from_file(str(self.path), shared=True, size=size, dtype=torch.float32)
        return flat.view(self.shape)

    def delete(self) -> None:
        """Remove the file; those who opened it keep their view."""
        self.path.unlink(missing_ok=True)
