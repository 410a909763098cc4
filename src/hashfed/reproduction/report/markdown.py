"""A reproduction as Markdown, to be read on GitHub."""

import re
from collections.abc import Iterable
from urllib.parse import quote

from hashfed.display import printable
from hashfed.reproduction.report import summary, tables
from hashfed.reproduction.report.figures import figure_names
from hashfed.reproduction.report.page import trial_tables
from hashfed.reproduction.report.plots import shown_vocabularies
from hashfed.reproduction.report.tables import Table
from hashfed.reproduction.results import Reproduction

_MEANING = re.compile(r"([\\`*_\[\]<>|~$#&])")
"""What Markdown or GitHub reads as more than itself."""
CAPTIONS = {
    "figure1": "Figure 1 in the paper's form",
    "figure1-ours": "All methods; rings mark the smallest budgets that are as good as full",
}


def markdown(found: Reproduction, files: list[str]) -> str:
    """The report; ``files`` lie beside it and are linked."""
    panels = shown_vocabularies(found)
    parts = [f"# {escaped(summary.heading(found))}", escaped(summary.about(found))]
    parts.append("\n".join(f"- {escaped(sentence)}" for sentence in summary.sentences(found)))
    parts += [f"> {escaped(note)}" for note in found.notes]
    if panels:
        parts.append("## Figure 1: accuracy against computed output parameters")
        parts += [
            f"![{CAPTIONS[name]}]({name}.svg)\n\n{CAPTIONS[name]}: [SVG]({name}.svg), [PDF]({name}.pdf)."
            for name in figure_names(found)
        ]
        if tables.partial_methods(found):
            parts.append(_shown(tables.smallest_table(found)))
        parts.append(
            _folded("All budgets, with the gaps of each seed", (tables.gap_table(found, v) for v in panels))
        )
    sections: list[tuple[str, list[Table | None]]] = [
        ("Failed runs", [tables.failed_table(found)]),
        ("Table 1: sizes", [tables.parameter_table(found) if found.parameters else None]),
        ("Table 2: the same device, a larger model", [*tables.device_tables(found)]),
        ("Where the results agree with the paper's", [tables.claims_table(found)]),
    ]
    for title, made in sections:
        there = [table for table in made if table is not None]
        if there:
            parts += [f"## {title}", *map(_shown, there)]
    if found.buckets:
        link = f"[{escaped(found.buckets)}]({quote(found.buckets)})"
        parts += ["## Buckets", f"Sample buckets with their words, as in the paper's appendix A: {link}."]
    return "\n\n".join([*parts, *_how(found, files)]) + "\n"


def escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return _MEANING.sub(r"\\\1", printable(text))


def _how(found: Reproduction, files: list[str]) -> list[str]:
    parts = ["## How it was made"]
    parts += [_shown(table) for table in (tables.choices_table(found), tables.chosen_table(found)) if table]
    trials = trial_tables(found)
    if trials:
        parts.append(_folded("All trials", trials))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", found.command)), default=0))
    parts.append(f"Command:\n\n{fence}\n{printable(found.command)}\n{fence}")
    if taken := summary.time_taken(found):
        parts.append(taken)
    parts.append(_shown(tables.settings_table(found)))
    runs = tables.runs_table(found)
    if runs is not None:
        parts.append(_folded("All runs and their folders", [runs]))
    if files:
        parts.append("Data: " + ", ".join(f"[{name}]({name})" for name in files) + ".")
    return parts


def _shown(table: Table) -> str:
    """Caption, table and note."""
    lines = [[escaped(cell) for cell in line.cells] for line in table.lines]
    lines = [
        [f"**{cell}**" if line.marked and cell else cell for cell in cells]
        for line, cells in zip(table.lines, lines, strict=True)
    ]
    rule = [":--" if place == 0 or place in table.left else "--:" for place in range(len(table.header))]
    rows = [[escaped(cell) for cell in table.header], rule, *lines]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = f"\n\n{escaped(table.note)}" if table.note else ""
    return f"**{escaped(table.caption)}**\n\n{text}{note}"


def _folded(title: str, made: Iterable[Table]) -> str:
    inside = "\n\n".join(map(_shown, made))
    return f"<details>\n<summary>{title}</summary>\n\n{inside}\n\n</details>"
