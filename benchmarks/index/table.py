"""The index benchmark as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from hashfed.report.columns import print_columns

HEADER = (
    "index",
    "coverage",
    "of optimum",
    "± spread",
    "recall@100",
    "build s",
    "refresh s",
    "encode ms",
    "lookup ms",
    "encoder kB",
    "keys kB",
)


def index_cells(name: str, found: Mapping[str, Any], at: int) -> tuple[str, ...]:
    """A row of the table: qualities at the budget in position ``at``, and costs."""
    if "skipped" in found:
        return (name, found["skipped"], *[""] * (len(HEADER) - 2))
    cells = [
        name,
        f"{found['coverage'][at]:.4f}",
        f"{found['coverage_of_optimum'][at]:.4f}",
        f"{found['coverage_of_optimum_spread'][at]:.4f}",
        f"{found['recall'][at]:.3f}",
    ]
    if "build_seconds" not in found:
        return (*cells, *[""] * (len(HEADER) - len(cells)))
    return (
        *cells,
        f"{found['build_seconds']:.3f}",
        f"{found['refresh_seconds']:.3f}",
        f"{1e3 * found['encode_seconds']:.1f}",
        f"{1e3 * found['lookup_seconds']:.1f}",
        f"{found['encoder_bytes'] / 1e3:.1f}",
        f"{found['key_bytes'] / 1e3:.1f}",
    )


def ordered(layer: Mapping[str, Any], at: int) -> list[tuple[str, Mapping[str, Any]]]:
    """The indexes of a layer, the best coverage first; what was skipped last."""
    return sorted(layer["indexes"].items(), key=lambda item: -item[1].get("coverage", [-1.0] * (at + 1))[at])


def print_index_table(layer: Mapping[str, Any], budgets: Sequence[float], at: int, file: TextIO) -> None:
    """Print a layer's indexes at one budget, the best first."""
    print(f"{layer['name']}, budget {budgets[at]:.0%} of {layer['rows']:,} rows", file=file)
    lines = [HEADER, *(index_cells(name, found, at) for name, found in ordered(layer, at))]
    print_columns([line for line in lines if line[2]], file)
    for line in lines:
        if not line[2]:
            print(f"{line[0]}  left out: {line[1]}", file=file)
