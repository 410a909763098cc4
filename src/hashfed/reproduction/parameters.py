"""Table 1: what the model's parameters are, counted, beside what the paper prints."""

import math

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.models import TransformerSettings
from hashfed.reproduction.paper import HASH, PaperRow, paper_row
from hashfed.reproduction.results import FULL, ParameterRow
from hashfed.tasks.next_word.vocabulary import SPECIAL

PRINTED_ROWS = {10_000: "960K (49.2%)", 80_000: "7.68M (88.5%)"}
"""Embedding size and its share of the model (Table 1)."""
PAPER_WIDTH, PAPER_FFN, PAPER_BLOCKS = 96, 1536, 3


def printed_formula(vocabulary: int, ffn: int, share: float = 1.0) -> float:
    """What reproduces the totals of the paper's full models: no projection after attention, no biases."""
    block = 3 * PAPER_WIDTH**2 + 2 * PAPER_WIDTH * ffn
    return PAPER_BLOCKS * block + share * vocabulary * PAPER_WIDTH


def parameter_table(config: Config, vocabularies: tuple[int, ...]) -> tuple[ParameterRow, ...]:
    """Table 1 for the model of ``config``, counted from its arrays."""
    model, shapes = TransformerSettings.of(config.model), build_model(config).body_shapes()
    block = {name: math.prod(shape) for name, shape in shapes.items() if name.startswith("blocks.0.")}
    weights = sum(count for name, count in block.items() if ".norm." not in name and "weight" in name)
    body, d = sum(math.prod(shape) for shape in shapes.values()), model.embedding
    is_papers = (d, model.ffn) == (PAPER_WIDTH, PAPER_FFN)
    rows = [
        ParameterRow(
            "weights of a block",
            "330K" if is_papers else "",
            weights,
            "4·d·a + 2·d·FFN",
            "queries, keys, values, the projection after attention, and two layers of the FFN",
        ),
        ParameterRow(
            "biases and gains of a block",
            "",
            sum(block.values()) - weights,
            "3·a + FFN + 6·d",
            "the paper counts none",
        ),
        ParameterRow("all below the output layer", "", body, f"{model.blocks} blocks + 2·d"),
    ]
    for vocabulary in vocabularies:
        size = vocabulary + len(SPECIAL)
        share = size * d / (size * d + body)
        paper = PRINTED_ROWS.get(vocabulary, "") if d == PAPER_WIDTH else ""
        rows.append(
            ParameterRow(
                f"output rows, {vocabulary:,} words",
                paper,
                size * d,
                "(V + 4)·d",
                f"{share:.1%} of the model; 4 special symbols have rows, and the input embedding is the same",
            )
        )
        full, hashed = (paper_row(vocabulary, method) if is_papers else None for method in (FULL, HASH))
        rows.append(_total(vocabulary, body + size * d, full))
        if hashed is not None:
            rows.append(_hashed(hashed, body, d))
    return tuple(rows)


def _total(vocabulary: int, counted: int, printed: PaperRow | None) -> ParameterRow:
    paper = "" if printed is None else _millions(printed.parameters)
    note = (
        f"the paper's is 3·(3·96² + 2·96·1536) + 96·V = {printed_formula(vocabulary, PAPER_FFN):,.0f}: "
        "without the projection after attention, biases, gains and special symbols"
        if paper
        else ""
    )
    return ParameterRow(f"the whole model, {vocabulary:,} words", paper, counted, "rows + below", note)


def _hashed(row: PaperRow, body: int, d: int) -> ParameterRow:
    vocabulary, ffn, printed = row.vocabulary, row.ffn, row.parameters
    wider = body + PAPER_BLOCKS * (2 * d + 1) * (ffn - PAPER_FFN)
    rows = round(row.share * (vocabulary + len(SPECIAL))) * d
    implied = (printed - printed_formula(vocabulary, ffn, 0)) / (vocabulary * PAPER_WIDTH)
    return ParameterRow(
        f"with 30% of the rows and FFN {ffn}, {vocabulary:,} words",
        _millions(printed),
        wider + rows,
        "30% of the rows + below",
        f"the paper's formula gives {printed_formula(vocabulary, ffn, row.share):,.0f}; its printed total "
        f"leaves {implied:.0%} of the rows, not 30%",
    )


def _millions(parameters: float) -> str:
    """As the paper writes them."""
    return f"{parameters / 1e6:.2f}M"
