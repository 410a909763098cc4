"""The speed of the indexes as plain text."""

from collections.abc import Mapping
from typing import Any, TextIO

from hashfed.report.columns import print_columns

HEADER = ("index", "build ms", "× products", "(tables)", "refresh ms", "lookup ms", "× products", "select ms")


def print_speed_table(result: Mapping[str, Any], file: TextIO) -> None:
    """Print one number of rows: medians, and ratios to the bare matrix products of the same run."""
    print(
        f"{result['rows']:,} × {result['width']} rows, 1 thread, medians of {result['repeats']}: refresh "
        f"after {result['changed']:.0%} of the rows changed, lookup of {result['queries']} queries, "
        f"selection of {result['budget']:.0%}; reading all rows once takes "
        f"{1e3 * result['memory_pass_seconds'][0]:.1f} ms",
        file=file,
    )
    print_columns([HEADER, *(_cells(name, found) for name, found in result["methods"].items())], file)


def _cells(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        _milliseconds(found, "build"),
        _ratio(found, "build", "hash_floor"),
        _milliseconds(found, "tables"),
        _milliseconds(found, "refresh"),
        _milliseconds(found, "lookup"),
        _ratio(found, "lookup", "lookup_floor"),
        _milliseconds(found, "select"),
    )


def _milliseconds(found: Mapping[str, Any], step: str) -> str:
    seconds = found.get(f"{step}_seconds")
    return f"{1e3 * seconds[0]:.1f}" if seconds else ""


def _ratio(found: Mapping[str, Any], step: str, floor: str) -> str:
    least = found.get(f"{floor}_seconds")
    return f"{found[f'{step}_seconds'][0] / least[0]:.2f}" if least else ""
