"""Runs side by side as one HTML page that needs nothing else."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashfed.config import Config, EvaluationSettings, differences, identity, leaves, places
from hashfed.errors import HashfedError
from hashfed.federated.protocols import ways
from hashfed.report.curves import (
    SYMBOLS,
    Drawn,
    Plot,
    Style,
    bytes_plot,
    method_symbols,
    round_plot,
    run_style,
    share_plot,
)
from hashfed.report.html import write_template
from hashfed.report.results import RunResult, each_once, read_result, rows_text, unique_names
from hashfed.runs.folder import RunFolder
from hashfed.tasks.presentation import Measure, Presentation

NONE = "–"
"""What a table shows where there is no value."""
DATA_SIZES = ("rows", "train_clients", "train_examples", "held_out_clients", "held_out_examples")
UNITS = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))
METHOD_SETTINGS = ("retrieval.", "selection.", "evaluation.every", "evaluation.examples")
"""In these a run may differ from the full run that it is compared with."""


@dataclass(frozen=True)
class Entry:
    """A run on the page.

    Attributes:
        position: among the runs of the page; decides the colour.
        result: the run, by a name that no other run of the page has.
        config: its configuration.
        data: its ``data.json``.
        seconds: median wall-clock seconds of a round on the server, where known.

    """

    position: int
    result: RunResult
    config: Config
    data: dict[str, Any]
    seconds: float | None

    @property
    def name(self) -> str:
        """The run's name on the page."""
        return self.result.name

    @property
    def style(self) -> Style:
        """Colour and dash."""
        return run_style(self.position)


def write_page(runs: Sequence[RunFolder], output: Path) -> None:
    """Write a page with tables and plots about finished runs; a folder given twice is shown once.

    Raises:
        HashfedError: where a folder is no finished run, a package is missing, or ``output`` cannot be
            written.

    """
    write_template(output, "page.html.j2", page_content(read_entries(runs)), "hashfed compare")


def read_entries(runs: Sequence[RunFolder]) -> list[Entry]:
    """The runs, each folder once, in the order given.

    Raises:
        HashfedError: where a folder is no finished run, or none is given.

    """
    unique = each_once(runs)
    if not unique:
        raise HashfedError("hashfed compare: needs at least one run folder")
    names = unique_names([run.path for run in unique])
    return [
        read_entry(position, run, name)
        for position, (run, name) in enumerate(zip(unique, names, strict=True))
    ]


def read_entry(position: int, run: RunFolder, name: str) -> Entry:
    """A run as the page shows it, by the name given.

    Raises:
        HashfedError: where the folder is no finished run.

    """
    result = dataclasses.replace(read_result(run), name=name)
    summary = run.read_json("summary.json")
    return Entry(
        position=position,
        result=result,
        config=run.config().model_copy(update={"rounds": summary["rounds"]}),
        data=run.read_json("data.json"),
        seconds=summary["seconds_per_round"],
    )


def page_content(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the template shows."""
    groups = data_groups(entries)
    if len(groups) == 1:
        labelled = {"": groups[0]}
    else:
        labelled = {f"Data {number}": group for number, group in enumerate(groups, start=1)}
    return {
        "count": len(entries),
        "banner": data_differences(labelled) if len(groups) > 1 else [],
        "sections": [
            section(label, group, f"data{number}") for number, (label, group) in enumerate(labelled.items())
        ],
    }


def section(label: str, entries: Sequence[Entry], id: str) -> dict[str, Any]:
    """Tables and plots of runs on the same data."""
    kinds = message_kinds(entries)
    return {
        "id": id,
        "label": label,
        "about": about(entries),
        "runs": [{"position": entry.position, "name": entry.name, "style": entry.style} for entry in entries],
        "heads": [measure.head for measure in shown_of(entries).measures],
        "gap_heads": [
            f"{measure.name} gap to full ({measure.difference})" for measure in shown_of(entries).main
        ],
        "results": [result_row(entry, reference(entry, entries)) for entry in entries],
        "gaps": any(reference(entry, entries) for entry in entries),
        "floors": floor_rows(entries[0].result),
        "messages": [f"{kind}\u00a0{'↓' if ways()[kind] == 'down' else '↑'}" for kind in kinds],
        "costs": [cost_row(entry, reference(entry, entries), kinds) for entry in entries],
        "references": reference_notes(entries),
        "settings": setting_rows(entries),
        "sample": sample_note(entries),
        "symbols": [
            f"{SYMBOLS[symbol]} {method}" for method, symbol in method_symbols(drawn(entries)).items()
        ],
        "plots": plots(entries),
    }


def shown_of(entries: Sequence[Entry]) -> Presentation:
    """How the numbers of runs on the same data read."""
    return entries[0].result.presentation


# Data


def data_groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Runs on the same data together, in order of their first run."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(repr(data_facts(entry)), []).append(entry)
    return list(groups.values())


def data_facts(entry: Entry) -> dict[str, Any]:
    """What must agree for results to be comparable.

    Of paths only the last part counts, and of floors six digits: the rest depends on the machine.
    """
    data = {name: value for name, value in leaves(entry.config) if name.startswith("data.")}
    files = {name: data[name] and Path(data[name]).name for name in places(entry.config)}
    sizes = {name.replace("_", " "): entry.data.get(name) for name in DATA_SIZES}
    floors = {
        name.replace("_", " "): float(f"{value:.6g}") for name, value in sorted(entry.result.floors.items())
    }
    return {
        **data,
        **files,
        "evaluation.clients": entry.config.evaluation.clients,
        **sizes,
        **floors,
    }


def data_differences(groups: Mapping[str, Sequence[Entry]]) -> list[str]:
    """In what the data of labelled groups differ; what follows from differing settings is left out."""
    facts = {label: data_facts(group[0]) for label, group in groups.items()}
    known = dict.fromkeys(name for fact in facts.values() for name in fact)
    names = [name for name in known if len(_values(facts, [name])) > 1]
    chosen = [name for name in names if "." in name]
    if len(_values(facts, chosen)) < len(groups):
        chosen = names
    return [
        f"{name}: "
        + "; ".join(f"{shown(fact[name])} ({label})" for label, fact in facts.items() if name in fact)
        for name in chosen
    ]


def _values(facts: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> set[str]:
    return {repr([fact.get(name) for name in names]) for fact in facts.values()}


def about(entries: Sequence[Entry]) -> dict[str, str]:
    """The data, as people say it."""
    first = entries[0]
    shown, floors, clients = first.result.presentation, first.result.floors, first.data["train_clients"]
    return {
        "source": first.config.data.source,
        "size": rows_text(first.config, first.result.total_rows),
        "rows": f"{first.result.total_rows:,}",
        "clients": f"{first.data['held_out_clients']:,}",
        "kind": first.config.evaluation.clients,
        "targets": f"{int(floors['targets']):,} {shown.targets}",
        "examples": shown.examples,
        "note": shown.note.format(**floors, train_clients=clients),
    }


def sample_note(entries: Sequence[Entry]) -> str:
    """On which examples the curves are measured."""
    total, examples = int(entries[0].data["held_out_examples"]), shown_of(entries).examples
    sizes = {min(total, entry.config.evaluation.examples or total) for entry in entries}
    if sizes == {total}:
        return f"The curves are measured on all {total:,} held-out {examples}, as the results table."
    sample = " or ".join(f"{size:,}" for size in sorted(sizes))
    note = (
        f"The curves are measured on a fixed random sample of {sample} of the {total:,} held-out {examples}; "
        "the floors and the results table are on all, so the last points differ a little from the table."
    )
    if len(sizes) > 1 or len({entry.config.seed for entry in entries}) > 1:
        note += " The runs do not share one sample: small differences between their curves mean nothing."
    return note


# Settings


def setting_differences(one: Config, other: Config) -> list[str]:
    """Names of settings that differ and change numbers."""
    names = [name for name, _, _ in differences(one, other)]
    return names + (["rounds"] if one.rounds != other.rounds else [])


def setting_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Settings in which the runs differ; a full run has none of how rows are found."""
    names = [name for entry in entries for name in setting_differences(entries[0].config, entry.config)]
    return [
        {"name": name, "values": [_setting_value(entry, name) for entry in entries]}
        for name in dict.fromkeys(names)
    ]


def _setting_value(entry: Entry, name: str) -> str:
    unused = entry.result.method == "full" and name.startswith(("retrieval.", "selection."))
    found = dict(leaves(entry.config))
    return NONE if name not in found or (unused and name != "retrieval.method") else shown(found[name])


def reference(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    """The full run with the most similar settings, the first of equals; none for a full run itself."""
    if entry.result.method == "full":
        return None
    full = [other for other in entries if other.result.method == "full"]
    return min(full, key=lambda other: len(_apart(entry, other)), default=None)


def _apart(entry: Entry, full: Entry) -> list[str]:
    """Settings that differ although method and budget do not explain it."""
    names = setting_differences(entry.config, full.config)
    return [name for name in names if not name.startswith(METHOD_SETTINGS)]


def reference_notes(entries: Sequence[Entry]) -> list[str]:
    """To which full run gaps and ratios are, and in what else it differs."""
    notes: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        full = reference(entry, entries)
        if full is not None:
            notes.setdefault((full.name, ", ".join(_apart(entry, full))), []).append(entry.name)
    told = []
    for (full_name, apart), names in notes.items():
        whose = "" if len(notes) == 1 else f" of {', '.join(names)}"
        also = f", which also differs in {apart}" if apart else ""
        told.append(f"Gaps and ratios{whose} are to {full_name}{also}.")
    return told


# Tables


def result_row(entry: Entry, full: Entry | None) -> dict[str, Any]:
    """The final metrics of a run."""
    found, shown = entry.result.evaluation, entry.result.presentation
    gaps = [NONE for _ in shown.main]
    if full is not None:
        goal = full.result.evaluation
        gaps = [signed(one.scale * (found[one.key] - goal[one.key]), one.digits) for one in shown.main]
    return {
        "name": entry.name,
        "style": entry.style,
        "cells": [
            entry.result.method,
            percent_of_rows(entry.result.share),
            f"{entry.config.rounds:,}",
            *(measure.text(found[measure.key]) for measure in shown.measures),
        ],
        "gaps": gaps,
    }


def floor_rows(result: RunResult) -> list[dict[str, Any]]:
    """What the simplest models achieve on the same data."""
    shown = result.presentation

    def cell(measure: Measure, floor: str) -> str:
        value = measure.floor(result.floors, floor)
        return NONE if value is None else measure.text(value)

    return [
        {
            "name": f"{floor} floor",
            "cells": [NONE, NONE, NONE, *(cell(measure, floor) for measure in shown.measures)],
            "gaps": [NONE for _ in shown.main],
        }
        for floor in shown.floors
    ]


def message_kinds(entries: Sequence[Entry]) -> list[str]:
    """The kinds of messages that any of the runs sent."""
    return [kind for kind in ways() if any(entry.result.device["bytes"].get(kind) for entry in entries)]


def cost_row(entry: Entry, full: Entry | None, kinds: Sequence[str]) -> dict[str, Any]:
    """The cost of a run, each cell with its ratio to the full run's; bytes by ``kinds`` of messages."""

    def cell(value: Callable[[Entry], float | None], show: Callable[[float], str]) -> dict[str, str]:
        own, base = value(entry), None if full is None else value(full)
        ratio = f"{times(own / base)} full" if own is not None and base else ""
        return {"text": NONE if own is None else show(own), "ratio": ratio}

    by_message = [
        {"text": byte_count(entry.result.device["bytes"].get(kind, 0)), "ratio": ""} for kind in kinds
    ]
    return {
        "name": entry.name,
        "style": entry.style,
        "cells": [
            cell(lambda run: run.result.device["parameters"], lambda value: f"{value:,.0f}"),
            cell(lambda run: run.result.device["rows"], lambda value: f"{value:,.0f}"),
            cell(lambda run: run.result.device["bytes_down"], byte_count),
            cell(lambda run: run.result.device["bytes_up"], byte_count),
            *by_message,
            cell(lambda run: run.result.device["flops"] / 1e9, lambda value: f"{value:.2f}"),
            cell(lambda run: run.result.memory if run.result.memory > 0 else None, byte_count),
            cell(lambda run: run.seconds, lambda value: f"{value:.2f}"),
        ],
    }


def byte_count(count: float) -> str:
    """A number of bytes in the unit that suits it (powers of 1000)."""
    if count < 999.5:
        return f"{count:.0f} B"
    unit, size = next((unit, size) for unit, size in UNITS if count < 999.5 * size or unit == "GB")
    return f"{count / size:#.3g}".rstrip(".") + f" {unit}"


def times(ratio: float) -> str:
    """Such as ``0.56×``; small ratios with two significant digits."""
    return f"{ratio:.2f}×" if ratio >= 0.095 else f"{ratio:.2g}×"


def percent_of_rows(share: float) -> str:
    """Such as ``10.0%``; small shares with two significant digits."""
    percent = 100 * share
    return f"{percent:.1f}%" if percent >= 1 else f"{percent:.2g}%"


def signed(value: float, digits: int) -> str:
    """With a sign, and a minus as long as a plus; what rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def shown(value: object) -> str:
    """A value as it would be written in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


# Plots


def drawn(entries: Sequence[Entry]) -> list[Drawn]:
    """The runs as the plots take them."""
    return [Drawn(entry.position, entry.result, family(entry.config)) for entry in entries]


def plots(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Groups of plots, one for each main measure, with a heading each."""
    pairs = (
        ("Against rounds", "curve", round_plot),
        ("Against bytes moved, down and up, by all clients", "curve", bytes_plot),
        ("Against computed output parameters", "final", share_plot),
    )
    return [
        {
            "title": title,
            "kind": kind,
            "figures": [_figure(make(drawn(entries), measure)) for measure in shown_of(entries).main],
        }
        for title, kind, make in pairs
    ]


def _figure(plot: Plot) -> dict[str, Any]:
    return {
        "heading": plot.heading,
        "remark": plot.remark,
        "json": {"data": plot.data, "layout": plot.layout},
    }


def family(config: Config) -> str:
    """All that decides numbers but the budget, the evaluation, and the data: a section has one."""
    unlimited = {"budget": 1.0, "extra": None, "max_rows": None, "max_bytes": None}
    alike = {
        "selection": config.selection.model_copy(update=unlimited),
        "evaluation": EvaluationSettings(),
        "data": Config.model_fields["data"].default,
    }
    return f"{config.rounds} {identity(config.model_copy(update=alike))}"
