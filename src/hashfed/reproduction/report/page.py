"""A reproduction as one HTML page."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from hashfed.report.html import write_template
from hashfed.reproduction.report import summary, tables
from hashfed.reproduction.report.figures import figure_names
from hashfed.reproduction.report.looks import style
from hashfed.reproduction.report.plots import figure1_plots, shown_vocabularies
from hashfed.reproduction.report.tables import Table
from hashfed.reproduction.results import Reproduction

HERE = Path(__file__).parent


def write_page(found: Reproduction, output: Path, files: list[str], command: str) -> None:
    """Write the page; ``files`` lie beside it and are linked.

    Raises:
        HashfedError: where a package is missing or ``output`` cannot be written.

    """
    write_template(output, "reproduction_page.html.j2", page_content(found, files), command, HERE)


def page_content(found: Reproduction, files: list[str]) -> dict[str, Any]:
    """What the template shows."""
    panels = shown_vocabularies(found)
    return {
        "heading": summary.heading(found),
        "about": summary.about(found),
        "sentences": summary.sentences(found),
        "notes": found.notes,
        "styles": {method: style(method) for method in found.methods},
        "groups": figure1_plots(found),
        "figures": [f"{name}.{kind}" for name in figure_names(found) for kind in ("svg", "pdf")],
        "files": files,
        "smallest": tables.smallest_table(found) if panels and tables.partial_methods(found) else None,
        "gaps": [tables.gap_table(found, vocabulary) for vocabulary in panels],
        "failed": tables.failed_table(found),
        "parameters": tables.parameter_table(found) if found.parameters else None,
        "devices": tables.device_tables(found),
        "claims": tables.claims_table(found),
        "choices": tables.choices_table(found),
        "chosen": tables.chosen_table(found),
        "trials": trial_tables(found),
        "settings": tables.settings_table(found),
        "runs": tables.runs_table(found),
        "command": found.command,
        "time_taken": summary.time_taken(found),
        "buckets": found.buckets,
        "buckets_link": quote(found.buckets),
    }


def trial_tables(found: Reproduction) -> list[Table]:
    """One for each vocabulary that has trials."""
    made = (tables.trials_table(found, vocabulary) for vocabulary in found.vocabularies)
    return [table for table in made if table is not None]
