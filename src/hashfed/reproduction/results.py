"""What a reproduction found, as plain records: what reports show, and what its CSV files hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FULL = "full"


@dataclass(frozen=True)
class RunRow:
    """A finished run of one seed.

    Attributes:
        experiments: of which it is part: ``figure1``, ``table2``; a run may belong to both.
        vocabulary: V.
        method: its name in ``methods.METHODS``.
        budget: such as ``1``, ``0.3`` or ``own+1%``, as the command line takes it.
        seed: of the run; runs of one seed have the same cohorts, sentences and first parameters.
        capacity: which size was made as large as possible (``ffn``, ``embedding``, ``blocks``); empty for
            the paper's sizes.
        limit: within what of the full model at the paper's sizes: ``parameters`` or ``memory``; empty
            for the paper's sizes.
        embedding: d.
        ffn: width of the feed-forward layer.
        blocks: their number.
        rounds: of the run.
        rows: mean number of output rows that a client held.
        total_rows: n.
        parameters: on a client: those below the output layer and its rows; for table 2 of the client
            with most data, else in the mean.
        memory: measured peak bytes of a client's process above its libraries.
        bytes_down: per client and round.
        bytes_up: per client and round.
        flops: of a client and round.
        accuracy: out-of-vocabulary, padding, begin and end targets masked (the paper's).
        accuracy_with_oov: out-of-vocabulary targets counted as wrong.
        top3_accuracy: as ``accuracy``, among the three likeliest.
        nll: under the softmax over all rows, nats.
        oov_rate: share of out-of-vocabulary targets among the words to be predicted, of the held-out clients.
        folder: of the run, relative to the reproduction's.
        failed: why it has no result, such as divergence; its numbers are NaN then. Empty where it has one.

    """

    experiments: tuple[str, ...]
    vocabulary: int
    method: str
    budget: str
    seed: int
    capacity: str
    limit: str
    embedding: int
    ffn: int
    blocks: int
    rounds: int
    rows: float
    total_rows: int
    parameters: float
    memory: float
    bytes_down: float
    bytes_up: float
    flops: float
    accuracy: float
    accuracy_with_oov: float
    top3_accuracy: float
    nll: float
    oov_rate: float
    folder: str
    failed: str = ""

    @property
    def share(self) -> float:
        """Share of the output parameters that are computed: the x-axis of the paper's figure 1."""
        return self.rows / self.total_rows


@dataclass(frozen=True)
class TrialRow:
    """A trial of settings on validation clients.

    Attributes:
        vocabulary: V.
        method: its name.
        number: 1, 2, …: in the order in which the method's trials were made.
        settings: those tried, by dotted name.
        accuracy: of the validation clients after the trial's rounds; NaN where it failed.
        nll: as well.
        chosen: whether the method's runs have these settings.
        folder: of the run, relative to the reproduction's.
        failed: why it has no result; empty where it has one.

    """

    vocabulary: int
    method: str
    number: int
    settings: dict[str, Any]
    accuracy: float
    nll: float
    chosen: bool
    folder: str
    failed: str = ""


def setting_names(trials: Iterable[TrialRow]) -> list[str]:
    """Of all settings that any of the trials has, in their order."""
    return list(dict.fromkeys(name for trial in trials for name in trial.settings))


@dataclass(frozen=True)
class ParameterRow:
    """A line of table 1: a part of the model.

    Attributes:
        part: such as ``attention block`` or ``embedding, 80,000 words``.
        paper: the paper's number as printed, such as ``330K``; empty where it has none.
        counted: of our model, exactly.
        formula: that gives ``counted`` from the sizes.
        note: what explains a difference.

    """

    part: str
    paper: str
    counted: int
    formula: str
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """What the paper leaves open.

    Attributes:
        open: the question.
        ours: the answer of this reproduction.

    """

    open: str
    ours: str


@dataclass(frozen=True)
class Reproduction:
    """All that a report shows.

    Attributes:
        experiments: those that were asked for, of ``table1``, ``figure1``, ``table2``, ``buckets``.
        scale: its name.
        data: what the data are, such as ``chitchat``.
        vocabularies: V of the panels, smallest first.
        methods: names in the order of legends and tables.
        runs: all that are finished, in the plan's order.
        trials: by vocabulary, method and number.
        parameters: table 1.
        floors: by vocabulary: ``unigram_accuracy``, ``bigram_accuracy``, ``unigram_nll``, ``bigram_nll`` and
            ``oov_rate`` of the held-out clients.
        choices: what the paper leaves open.
        settings: of the scale, in words, such as ``cohort`` and its value.
        command: that made it.
        environment: names and versions: ``hashfed``, ``python``, ``torch``, ``machine``.
        seconds: of all runs and trials together, those that were made before included.
        buckets: the page with hash buckets, relative to the reproduction's folder; empty where there is none.

    """

    experiments: tuple[str, ...]
    scale: str
    data: str
    vocabularies: tuple[int, ...]
    methods: tuple[str, ...]
    runs: tuple[RunRow, ...]
    trials: tuple[TrialRow, ...]
    parameters: tuple[ParameterRow, ...]
    floors: dict[int, dict[str, float]]
    choices: tuple[Choice, ...]
    settings: dict[str, str]
    command: str
    environment: dict[str, str]
    seconds: float
    buckets: str = ""
    notes: tuple[str, ...] = field(default=())
