"""Made-up reproductions: records as finished runs would give them."""

import math
from dataclasses import replace
from typing import Any

from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.results import (
    FULL,
    Choice,
    ParameterRow,
    Reproduction,
    RunRow,
    TrialRow,
)

BUDGETS = {"0.05": 0.05, "0.1": 0.1, "0.3": 0.3, "0.6": 0.6}
LOSSES = {"random": 3.0, "simhash": 2.0, "mips": 0.6, "sample": 0.3, "planes": 0.1}
"""Points at 5%, by method."""


def run_row(method: str = FULL, budget: str = "1", **changes: Any) -> RunRow:
    """A run of figure 1 with 1,000 rows and an accuracy of 20%; by default a full one, or of so many rows."""
    share = float(budget) if not budget.startswith("own") else 0.014
    row = RunRow(
        experiments=("figure1",),
        vocabulary=1000,
        method=method,
        budget=budget,
        seed=0,
        capacity="",
        limit="",
        embedding=96,
        ffn=1536,
        blocks=3,
        rounds=400,
        rows=1000 * share,
        total_rows=1000,
        parameters=1e6 + 96_000 * share,
        memory=math.nan,
        bytes_down=4e6 * share,
        bytes_up=4e6 * share,
        flops=1e9,
        accuracy=0.2,
        accuracy_with_oov=0.19,
        top3_accuracy=0.35,
        nll=5.0,
        oov_rate=0.05,
        folder=f"runs/1000-words/{method}-{budget}-seed0",
    )
    return replace(row, **changes)


def failed_row(method: str, budget: str, **changes: Any) -> RunRow:
    """A run that diverged."""
    nothing = dict.fromkeys(("rows", "parameters", "accuracy", "accuracy_with_oov", "top3_accuracy", "nll"))
    numbers = dict.fromkeys(nothing, math.nan)
    return run_row(method, budget, **{**numbers, "failed": "diverged in round 12", **changes})


def empty(**changes: Any) -> Reproduction:
    """Without any result."""
    found = Reproduction(
        experiments=("figure1",),
        scale="small",
        data="chitchat",
        vocabularies=(1000,),
        methods=tuple(METHODS),
        runs=(),
        trials=(),
        parameters=(),
        floors={},
        choices=(),
        settings={},
        command="hashfed reproduce figure1",
        environment={},
        seconds=0.0,
    )
    return replace(found, **changes)


def whole(seeds: int = 3) -> Reproduction:
    """Six methods, two vocabularies, four budgets and own rows + 1%, both tables, and trials."""
    runs = [
        run
        for vocabulary in (10_000, 30_000)
        for method in METHODS
        for run in (*_figure_runs(vocabulary, method, seeds), *_larger_runs(vocabulary, method, seeds))
    ]
    return empty(
        experiments=("table1", "figure1", "table2", "buckets"),
        vocabularies=(10_000, 30_000),
        runs=tuple(runs),
        trials=tuple(
            trial
            for vocabulary in (10_000, 30_000)
            for method in METHODS
            for trial in _trials(vocabulary, method)
        ),
        parameters=(
            ParameterRow(
                "weights of a block", "330K", 331_776, "4·d·a + 2·d·FFN", "queries, keys and values"
            ),
            ParameterRow("output rows, 10,000 words", "960K (49.2%)", 960_384, "(V + 4)·d"),
            ParameterRow("all below the output layer", "", 1_004_000, "3 blocks + 2·d"),
        ),
        floors={
            vocabulary: {
                "unigram_accuracy": 0.041,
                "bigram_accuracy": 0.159,
                "unigram_nll": 6.2,
                "bigram_nll": 5.1,
                "oov_rate": rate,
            }
            for vocabulary, rate in ((10_000, 0.05), (30_000, 0.02))
        },
        choices=(
            Choice(
                "Number of attention heads and blocks.",
                "8 heads and 3 blocks, which give its table of sizes.",
            ),
            Choice("Local epochs and batch size.", "One epoch, batches of 16 sentences."),
        ),
        settings={"cohort": "16 clients", "rounds": "400", "sentences": "64"},
        command="hashfed reproduce all --data.source chitchat --scale small --output runs/paper",
        environment={"hashfed": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "machine": "2 cores, x86_64"},
        seconds=9_876.5,
        buckets="runs/10000-words/full-1-seed0/buckets.html",
    )


def _figure_runs(vocabulary: int, method: str, seeds: int) -> list[RunRow]:
    budgets = {"1": 1.0} if method == FULL else dict(BUDGETS)
    if method in ("sample", "planes"):
        budgets["own+1%"] = 0.0143
    made = []
    for budget, share in budgets.items():
        lost = (
            0.0
            if method == FULL
            else LOSSES[method] * (0.05 / share) ** 0.9 * (1.4 if vocabulary > 10_000 else 1)
        )
        for seed in range(seeds):
            noise = 0.04 * math.sin(7 * seed + 31 * share + len(method))
            made.append(
                run_row(
                    method,
                    budget,
                    experiments=("figure1", "table2") if method == FULL else ("figure1",),
                    vocabulary=vocabulary,
                    seed=seed,
                    rows=share * (vocabulary + 4),
                    total_rows=vocabulary + 4,
                    parameters=1_004_000 + 96 * share * (vocabulary + 4),
                    memory=4e6 + 3000 * share * vocabulary if method == FULL else math.nan,
                    accuracy=(17.7 - lost + 0.1 * seed + noise) / 100,
                    nll=4.6 + 0.3 * lost**1.3 + 0.02 * seed + noise / 20,
                    oov_rate=0.05 if vocabulary == 10_000 else 0.02,
                    folder=f"runs/{vocabulary}-words/{method}-{budget.replace('%', '')}-seed{seed}",
                )
            )
    return made


def _larger_runs(vocabulary: int, method: str, seeds: int) -> list[RunRow]:
    if method not in ("simhash", "planes"):
        return []
    budget, share = ("0.3", 0.3) if method == "simhash" else ("own+1%", 0.0143)
    sizes = {"ffn": {"ffn": 2560}, "embedding": {"embedding": 128}, "blocks": {"blocks": 5}}
    return [
        run_row(
            method,
            budget,
            experiments=("table2",),
            vocabulary=vocabulary,
            seed=seed,
            capacity=capacity,
            limit=limit,
            rows=share * (vocabulary + 4),
            total_rows=vocabulary + 4,
            parameters=1.9e6 if limit == "parameters" else 1.7e6,
            memory=3.3e7,
            accuracy=(17.7 + gain + 0.1 * seed + (0.5 if method == "planes" else 0)) / 100,
            nll=4.55,
            oov_rate=0.05 if vocabulary == 10_000 else 0.02,
            folder=f"runs/{vocabulary}-words/{method}-{capacity}-{limit}-seed{seed}",
            **size,
        )
        for (capacity, size), gain in zip(sizes.items(), (0.31, 0.12, -0.2), strict=True)
        for limit in ("parameters", "memory")
        for seed in range(seeds)
    ]


def _trials(vocabulary: int, method: str) -> list[TrialRow]:
    rates: list[dict[str, Any]] = [
        {"client.learning_rate": 0.1, "server.learning_rate": 10**-1.5, "server.epsilon": 1e-4},
        {"client.learning_rate": 0.1, "server.learning_rate": 0.01, "server.epsilon": 1e-4},
        {"client.learning_rate": 10**-0.5, "server.learning_rate": 0.01, "server.epsilon": 1e-4},
    ]
    hashes = {"retrieval.bits": 8, "retrieval.tables": 8} if method == "simhash" else {}
    return [
        TrialRow(
            vocabulary=vocabulary,
            method=method,
            number=number,
            settings={**settings, **hashes},
            accuracy=math.nan if number == 3 else 0.1 + 0.01 * number,
            nll=math.nan if number == 3 else 5.5 - 0.1 * number,
            chosen=number == 2,
            folder=f"trials/{vocabulary}-words/{method}-{number:02d}",
            failed="diverged in round 9" if number == 3 else "",
        )
        for number, settings in enumerate(rates, start=1)
    ]
