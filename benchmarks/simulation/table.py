"""The simulation benchmark as plain text."""

from collections.abc import Mapping
from typing import Any, TextIO

from hashfed.report.columns import print_columns

HEADER = ("simulator", "version", "client-steps/s", "(least – most)", "hashfed ×", "of floor", "memory MB")


def print_simulation_table(result: Mapping[str, Any], file: TextIO) -> None:
    """Print one scenario; ``hashfed ×`` is how many times faster hashfed's full layer is."""
    scenario = result["scenario"]
    print(
        f"{scenario['words']:,} words, {scenario['clients']} clients × {scenario['sentences']} sentences, "
        f"{scenario['workers']} cores, medians of {result['repeats']} runs of {scenario['rounds'] - 1} "
        f"rounds; floor {result['floor_steps_per_second']:.2f} client-steps/s",
        file=file,
    )
    print_columns([HEADER, *(_cells(*item) for item in result["candidates"].items())], file)
    for name, reason in result["skipped"].items():
        print(f"{name}  left out: {reason}", file=file)


def _cells(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    median, least, most = found["steps_per_second"]
    return (
        name,
        found["version"],
        f"{median:.2f}",
        f"({least:.2f} – {most:.2f})",
        f"{found['hashfed_speedup']:.2f}",
        f"{found['share_of_floor']:.0%}",
        f"{found['peak_rss'] / 1e6:.0f}",
    )
