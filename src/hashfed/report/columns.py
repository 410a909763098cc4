"""Cells as aligned plain text."""

from collections.abc import Sequence
from typing import TextIO

from hashfed.display import printable


def print_columns(lines: Sequence[Sequence[str]], file: TextIO) -> None:
    """Print lines of equally many cells, the first column to the left and the others to the right."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells]).rstrip(), file=file)
