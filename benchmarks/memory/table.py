"""The memory benchmark as plain text."""

from collections.abc import Mapping
from typing import Any, TextIO

from hashfed.report.columns import print_columns


def print_client_memory(result: Mapping[str, Any], file: TextIO) -> None:
    """Print a client's memory by budget, above its libraries and of the whole process."""
    print(
        f"client with {result['rows']:,} rows, {result['sentences']} sentences of {result['length']} words; "
        "peak MB, × is the ratio to full",
        file=file,
    )
    lines = [("budget", "above libraries", "×", "whole process", "×")]
    lines += [
        (
            "full" if budget == "1" else budget,
            _mega(entry["memory"]),
            f"{entry['memory_to_full']:.3f}",
            _mega(entry["process"]),
            f"{entry['process_to_full']:.3f}",
        )
        for budget, entry in result["budgets"].items()
    ]
    print_columns(lines, file)


def print_server_memory(result: Mapping[str, Any], file: TextIO) -> None:
    """Print the server's memory by cohort and number of workers."""
    print(
        f"server with {result['words']:,} words, {result['clients']:,} clients at budget "
        f"{result['budget']:g}, rounds {result['rounds']}; peak MB, × is the ratio to the smallest cohort",
        file=file,
    )
    lines = [("cohort", "workers", "above libraries", "×", "whole process", "×", "before round 1")]
    lines += [
        (
            f"{entry['cohort']:,}",
            str(entry["workers"]),
            _mega(entry["memory"]),
            f"{entry['memory_to_least']:.2f}",
            _mega(entry["process"]),
            f"{entry['process_to_least']:.2f}",
            _mega(entry["ready"]),
        )
        for entry in result["processes"]
    ]
    print_columns(lines, file)


def _mega(count: float) -> str:
    return f"{count / 1e6:.1f}"
