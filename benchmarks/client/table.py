"""The client benchmark as plain text."""

from collections.abc import Mapping
from typing import Any, TextIO

from hashfed.report.columns import print_columns

HEADER = (
    "one step of a client",
    "ms",
    "(least – most)",
    "× plain",
    "× full",
    "FLOP ratio",
    "of floor",
    "hash",
    "retrieve",
    "train ms",
    "tail ms",
)


def print_client_table(result: Mapping[str, Any], file: TextIO) -> None:
    """Print one model size; speeds are ratios within the run.

    ``tail`` is the server's work on the client's change of the tail, which is not part of the step.
    """
    print(
        f"{result['rows']:,} rows, 1 thread, medians of {result['repeats']}; losses equal within "
        f"{result['loss_difference']:.0e}",
        file=file,
    )
    lines = [HEADER, *(_cells(name, found) for name, found in result["candidates"].items())]
    print_columns(lines, file)


def _cells(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    median, least, most = found["ms_per_step"]
    parts = found.get("parts")
    return (
        name,
        f"{median:.1f}",
        f"({least:.1f} – {most:.1f})",
        f"{found['to_plain_pytorch']:.2f}",
        f"{found['to_full']:.2f}",
        f"{found['flop_ratio']:.2f}" if parts else "",
        f"{found['share_of_floor']:.0%}" if "share_of_floor" in found else "",
        *((f"{parts[part]:.1f}" for part in ("hash", "retrieve", "train")) if parts else ("", "", "")),
        f"{1e3 * found['server_seconds']['tail'] / found['steps']:.1f}" if parts else "",
    )
