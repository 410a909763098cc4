"""The tables of a reproduction as cells, for pages and Markdown alike."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hashfed.report.page import NONE, shown, times
from hashfed.reproduction.analysis import WITHIN_NATS, WITHIN_POINTS, Spread, smallest
from hashfed.reproduction.claims import Claim, claims
from hashfed.reproduction.device_budget import DeviceRow, device_rows, full_row
from hashfed.reproduction.paper import GAINS, nearest_vocabulary
from hashfed.reproduction.report import texts
from hashfed.reproduction.report.looks import title
from hashfed.reproduction.results import FULL, Reproduction, RunRow, TrialRow, setting_names

WITHIN = (f"{WITHIN_POINTS} points", f"{WITHIN_NATS} nats")
CAPACITIES = {"ffn": "FFN", "embedding": "embedding", "blocks": "blocks"}
VERDICTS = {True: "yes", False: "no", None: "not measured"}


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        cells: as many as the header has.
        method: whose colour stands before the first cell; empty for none.
        marked: whether it stands out.

    """

    cells: tuple[str, ...]
    method: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        id: unique on the page.
        caption: what it shows.
        header: names of the columns.
        lines: at least one.
        left: columns with texts, from 0, besides the first.
        note: how to read it.

    """

    id: str
    caption: str
    header: tuple[str, ...]
    lines: tuple[Line, ...]
    left: frozenset[int] = field(default=frozenset())
    note: str = ""


def smallest_table(found: Reproduction) -> Table:
    """The smallest budgets that are as good as full, by method and vocabulary."""
    header = ["Method"]
    for vocabulary in found.vocabularies:
        header += [f"{vocabulary:,} words, {within}" for within in WITHIN]
    lines = []
    for method in partial_methods(found):
        cells = [title(method)]
        for vocabulary in found.vocabularies:
            best = smallest(found.runs, vocabulary, method)
            cells += [texts.smallest_points(best), texts.smallest_nats(best)]
        lines.append(Line(tuple(cells), method))
    note = (
        "The smallest share of computed output parameters with which a method loses at most "
        f"{WITHIN_POINTS} points of accuracy, or {WITHIN_NATS} nats of negative log-likelihood, to full: in "
        "the mean of pairs of the same seed. A budget counts only if all larger ones of the method hold "
        "too (monotone), and if none of its runs failed."
    )
    return Table(
        "smallest", "Smallest budgets that are as good as full", tuple(header), tuple(lines), note=note
    )


def gap_table(found: Reproduction, vocabulary: int) -> Table:
    """All points of figure 1 with their gaps to full."""
    header = (
        *("Method", "Budget", "Computed", "Accuracy (%)", "Gap (points)", "Each seed"),
        *("NLL (nats)", "Gap (nats)", "Each seed", "Runs", "Failed"),
    )
    lines = []
    for method in found.methods:
        for gap in smallest(found.runs, vocabulary, method).gaps:
            point, full = gap.point, method == FULL
            cells: tuple[str, ...] = (
                title(method),
                point.budget,
                texts.share(point.share),
                texts.accuracy(point.accuracy),
                NONE if full else texts.points(gap.accuracy.mean),
                NONE if full else texts.each_seed(gap.accuracy, 2),
                texts.nats(point.nll),
                NONE if full else texts.nats_apart(gap.nll.mean),
                NONE if full else texts.each_seed(gap.nll, 3),
                str(len(point.runs)),
                str(len(point.failed)),
            )
            lines.append(Line(cells, method))
    floors = found.floors.get(vocabulary, {})
    for floor in ("bigram", "unigram"):
        if f"{floor}_accuracy" in floors:
            known = (f"{100 * floors[f'{floor}_accuracy']:.2f}", f"{floors[f'{floor}_nll']:.3f}")
            cells = (f"({floor} floor)", NONE, NONE, known[0], NONE, NONE, known[1], *[NONE] * 4)
            lines.append(Line(cells))
    return Table(
        f"gaps-{vocabulary}",
        f"Figure 1 in numbers, {vocabulary:,} words",
        header,
        tuple(lines),
        frozenset({1}),
        "± is the sample standard deviation over seeds. Gaps are to full, in pairs of the same seed; "
        "failed runs are in no mean. Floors: tables of word and word-pair counts of the training clients.",
    )


def parameter_table(found: Reproduction) -> Table:
    """Table 1."""
    lines = tuple(
        Line((row.part, row.paper or NONE, f"{row.counted:,}", row.formula, row.note or NONE))
        for row in found.parameters
    )
    return Table(
        "table1",
        "Parameters of the model",
        ("Part", "The paper", "Counted", "Formula", "Note"),
        lines,
        frozenset({3, 4}),
    )


def device_tables(found: Reproduction) -> list[Table]:
    """Table 2: the wider FFN as in the paper, and the other sizes; each with the full models."""
    rows = device_rows(found)
    wider = [row for row in rows if row.capacity in ("", "ffn")]
    others = [row for row in rows if row.capacity != "ffn"]
    tables = []
    if wider:
        tables.append(_device_table(found, "table2-ffn", "A wider FFN, as in the paper", wider, rows))
    if any(row.capacity for row in others):
        caption = "Other sizes: embedding and blocks"
        tables.append(_device_table(found, "table2-other", caption, others, rows))
    return tables


def claims_table(found: Reproduction) -> Table | None:
    """Where the results agree with the paper's; None where nothing can be said."""
    lines = tuple(_claim_line(claim) for claim in claims(found))
    if not lines:
        return None
    return Table(
        "claims",
        "The paper's claims",
        ("Claim", "Words", "Here", "Numbers", "Rule", "Where"),
        lines,
        frozenset({2, 3, 4, 5}),
        "Numbers are points of accuracy, means over pairs of the same seed; each verdict follows from its "
        "rule. Where a result differs, what the paper leaves open (below) may be why.",
    )


def trials_table(found: Reproduction, vocabulary: int) -> Table | None:
    """All trials of settings; None where there are none."""
    trials = [trial for trial in found.trials if trial.vocabulary == vocabulary]
    if not trials:
        return None
    names = setting_names(trials)
    lines = []
    for trial in trials:
        result = (f"{100 * trial.accuracy:.2f}", f"{trial.nll:.3f}")
        lines.append(
            Line(
                (
                    title(trial.method),
                    str(trial.number),
                    *_setting_cells(trial, names),
                    *((NONE, NONE) if trial.failed else result),
                    "chosen" if trial.chosen else f"failed: {trial.failed}" if trial.failed else "",
                ),
                trial.method,
                trial.chosen,
            )
        )
    header = ("Method", "Trial", *names, "Accuracy (%)", "NLL (nats)", "")
    return Table(
        f"trials-{vocabulary}",
        f"Trials of settings, {vocabulary:,} words",
        header,
        tuple(lines),
        frozenset({len(header) - 1}),
        "On validation clients; the runs of a method have the settings that are marked as chosen.",
    )


def chosen_table(found: Reproduction) -> Table | None:
    """The settings that the trials chose; None without trials."""
    chosen = [trial for trial in found.trials if trial.chosen]
    if not chosen:
        return None
    names = setting_names(chosen)
    lines = tuple(
        Line(
            (
                title(trial.method),
                f"{trial.vocabulary:,}",
                *_setting_cells(trial, names),
                str(
                    sum(
                        (other.vocabulary, other.method) == (trial.vocabulary, trial.method)
                        for other in found.trials
                    )
                ),
            ),
            trial.method,
        )
        for trial in chosen
    )
    return Table("chosen", "Chosen settings", ("Method", "Words", *names, "Trials"), lines)


def choices_table(found: Reproduction) -> Table | None:
    """What the paper leaves open; None where nothing is."""
    lines = tuple(Line((choice.open, choice.ours)) for choice in found.choices)
    if not lines:
        return None
    header = ("Open", "Here")
    return Table("choices", "What the paper leaves open", header, lines, frozenset({1}))


def settings_table(found: Reproduction) -> Table:
    """Scale, settings and versions; nothing that a clock decides."""
    seeds = sorted({run.seed for run in found.runs})
    facts = {
        "experiments": ", ".join(found.experiments),
        "scale": found.scale,
        "data": found.data,
        "vocabularies": ", ".join(f"{vocabulary:,}" for vocabulary in found.vocabularies),
        "seeds": ", ".join(map(str, seeds)) or NONE,
        "runs and trials": f"{len(found.runs):,} and {len(found.trials):,}",
        **found.settings,
        **found.environment,
    }
    lines = tuple(Line((name, value)) for name, value in facts.items())
    return Table("settings", "Settings and versions", ("Setting", "Value"), lines, frozenset({1}))


def runs_table(found: Reproduction) -> Table | None:
    """All runs with their folders; None where there are none."""
    lines = tuple(_run_line(run) for run in found.runs)
    if not lines:
        return None
    header = (
        "Method",
        "Words",
        "Budget",
        "Model",
        "Seed",
        "Accuracy (%)",
        "Top-3 (%)",
        "NLL (nats)",
        "Folder",
    )
    note = "Folders are relative to the one of this report."
    return Table("runs", "All runs", header, lines, frozenset({2, 3, 8}), note)


def failed_table(found: Reproduction) -> Table | None:
    """Runs without a result; None where all have one."""
    lines = tuple(
        Line(
            (title(run.method), f"{run.vocabulary:,}", run.budget, str(run.seed), run.failed, run.folder),
            run.method,
        )
        for run in found.runs
        if run.failed
    )
    if not lines:
        return None
    header = ("Method", "Words", "Budget", "Seed", "Why", "Folder")
    return Table("failed", "Runs that failed", header, lines, frozenset({2, 4, 5}), "They are in no mean.")


def partial_methods(found: Reproduction) -> list[str]:
    """The methods that hold some of the rows."""
    return [method for method in found.methods if method != FULL]


def _setting_cells(trial: TrialRow, names: Sequence[str]) -> list[str]:
    """Of each setting, and a dash for those that the trial's method has not."""
    return [setting(trial.settings[name]) if name in trial.settings else NONE for name in names]


def setting(value: object) -> str:
    """A setting's value, with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else shown(value)


def paper_gain(row: DeviceRow) -> str:
    """What the paper gained at the vocabulary that is nearest, which is named."""
    nearest = nearest_vocabulary(row.vocabulary)
    return f"{texts.points(GAINS[nearest])} ({nearest // 1000}K)"


def _device_table(
    found: Reproduction, id: str, caption: str, lines: Sequence[DeviceRow], rows: Sequence[DeviceRow]
) -> Table:
    many = len(found.vocabularies) > 1
    header = [
        *("Method", "Words", "Model", "Within", "Accuracy (%)", "Gain (points)", "Paper's gain"),
        *("Parameters", "Memory", "Computed", "Each seed", "Paper's accuracy (%), parameters"),
    ]
    if many:
        header.insert(header.index("Each seed"), "Unified (%)")
    note = (
        "The full model, and the largest models with some of the rows that fit within its parameters on "
        "the device, or its memory. Memory is the measured peak of a client's process above its libraries. "
        "Gains are over the full model of the same vocabulary, in pairs of the same seed; the paper's at "
        "the vocabulary of its two that is nearest."
    )
    if many:
        note += (
            " Unified accuracy: targets are the words of the largest vocabulary, and those that a model "
            "has no row for count as wrong."
        )
    cells = [Line(_device_cells(row, full_row(rows, row.vocabulary), many), row.method) for row in lines]
    return Table(id, caption, tuple(header), tuple(cells), frozenset({2, 3}), note)


def _device_cells(row: DeviceRow, full: DeviceRow | None, many: bool) -> tuple[str, ...]:
    is_full, printed = row.method == FULL, row.paper
    computed = Spread(tuple(run.share for run in row.runs)).mean
    paper = f"{printed.accuracy:.2f}\u00a0±\u00a0{printed.spread:.2f}" if printed else NONE
    return (
        title(row.method),
        f"{row.vocabulary:,}",
        texts.size(row.first),
        NONE if is_full else row.limit,
        texts.accuracy(row.accuracy) + (f" ({len(row.failed)} failed)" if row.failed else ""),
        texts.points(row.gain.mean),
        NONE if is_full else paper_gain(row),
        _with_ratio(texts.parameters(row.parameters), row, full, lambda one: one.parameters),
        _with_ratio(texts.memory(row.memory), row, full, lambda one: one.memory),
        texts.budget(row.budget, computed),
        *((NONE if math.isnan(row.unified.mean) else texts.accuracy(row.unified),) if many else ()),
        texts.each_seed(row.gain, 2),
        f"{paper}, {printed.parameters / 1e6:.2f}M" if printed else NONE,
    )


def _with_ratio(
    text: str, row: DeviceRow, full: DeviceRow | None, value: Callable[[DeviceRow], float]
) -> str:
    """The text, and the ratio to the full model's value where that is known."""
    if full is None or row is full or math.isnan(value(row)) or not value(full) > 0:
        return text
    return f"{text} ({times(value(row) / value(full))})"


def _claim_line(claim: Claim) -> Line:
    numbers = "; ".join(f"{name}: {_claim_number(claim, number)}" for name, number in claim.numbers)
    cells = (
        claim.text,
        f"{claim.vocabulary:,}" if claim.vocabulary is not None else "all",
        VERDICTS[claim.holds],
        numbers or NONE,
        claim.rule,
        claim.place,
    )
    return Line(cells)


def _claim_number(claim: Claim, number: float) -> str:
    if math.isnan(number):
        return "failed"
    return f"{number:.2f}%" if claim.percent else texts.points(number)


def _run_line(run: RunRow) -> Line:
    model = texts.size(run) + (f"; {CAPACITIES[run.capacity]} within {run.limit}" if run.capacity else "")
    result = (f"{100 * run.accuracy:.2f}", f"{100 * run.top3_accuracy:.2f}", f"{run.nll:.3f}")
    cells = (
        title(run.method),
        f"{run.vocabulary:,}",
        run.budget,
        model,
        str(run.seed),
        *(("failed", NONE, NONE) if run.failed else result),
        run.folder,
    )
    return Line(cells, run.method)
