"""SASRec beside torch's own layers, and its dropout."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hashfed.config import make_config
from hashfed.errors import HashfedError
from hashfed.models import INPUT, OUTPUT, Parameters
from hashfed.models.batch import Batch
from hashfed.models.noise import draw_dropout, dropout, generator
from hashfed.models.protocol import as_named
from hashfed.models.sasrec import SASRec
from hashfed.models.transformer import Transformer
from hashfed.randomness import stream
from hashfed.tasks.next_item.histories import Histories
from hashfed.tasks.sequences import Sequences

MODEL = SASRec(8, 2, 2, 6, 0.5)


def fresh(model: SASRec | Transformer = MODEL) -> Parameters:
    return model.init({OUTPUT: 12}, stream(0, "init"))


def batch_of(examples: Sequences | Histories, noise: torch.Generator | None = None) -> Batch:
    bound = examples.bind({OUTPUT: None, INPUT: None}, torch.device("cpu"))
    return MODEL.pack(
        replace(bound.batch(torch.arange(len(examples))), noise=() if noise is None else (noise,))
    )


def sequences(*lines: list[int]) -> Sequences:
    ids = np.zeros((len(lines), max(map(len, lines))), np.int32)
    for row, line in zip(ids, lines, strict=True):
        row[: len(line)] = line
    return Sequences(ids[:, :-1].copy(), ids[:, 1:].copy())


def reference(parameters: Parameters, items: list[int]) -> torch.Tensor:
    """All hidden vectors of one sequence, by ``nn.MultiheadAttention`` and its kin."""
    body, d = parameters.body, 8
    x = (parameters.rows[items] * math.sqrt(d) + body["positions"][: len(items)])[None]
    later = torch.ones(len(items), len(items), dtype=torch.bool).triu(1)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(x, (d,), body[f"{name}.weight"], body[f"{name}.bias"], 1e-8)

    for block in ("blocks.0", "blocks.1"):
        attention = nn.MultiheadAttention(d, 2, batch_first=True)
        made = [body[f"{block}.attention.{part}.weight"] for part in ("query", "pair")]
        attention.in_proj_weight.data = torch.cat(made)
        attention.out_proj.weight.data = body[f"{block}.attention.out.weight"]
        normal = norm(f"{block}.attention.norm", x)
        x = normal + attention(normal, x, x, attn_mask=later)[0]
        x = norm(f"{block}.ffn.norm", x)
        hidden = torch.relu(x @ body[f"{block}.ffn.in.weight"].T)
        x = x + hidden @ body[f"{block}.ffn.out.weight"].T
    return norm("norm", x)[0]


def test_it_is_what_torch_s_layers_give() -> None:
    parameters = fresh()
    tables = as_named(MODEL, parameters.tables)
    found = MODEL.queries(parameters.body, tables, batch_of(sequences([3, 4, 5, 9], [7, 1])))
    expected = torch.cat([reference(parameters, [3, 4, 5]), reference(parameters, [7])])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [MODEL, Transformer(8, 8, 2, 16, 2)])
def test_a_history_s_query_is_that_of_its_last_position(model: SASRec | Transformer) -> None:
    """Whatever is beside it in the batch."""
    parameters = fresh(model)
    tables = as_named(model, parameters.tables)
    trained = model.queries(parameters.body, tables, batch_of(sequences([3, 4, 5, 9], [7, 1])))
    items, counts = np.array([3, 4, 5, 2, 7], np.int32), np.array([3, 2])
    histories = Histories(items, counts, np.array([3, 1]), np.array([9, 1], np.int32))
    found = model.queries(parameters.body, tables, batch_of(histories))
    torch.testing.assert_close(found, trained[[2, 3]], rtol=1e-4, atol=1e-5)


def test_shapes_and_beginnings() -> None:
    parameters = SASRec().init({OUTPUT: 3000}, stream(0, "init"))
    assert {name: tuple(value.shape) for name, value in parameters.body.items()} == SASRec().body_shapes()
    assert float(parameters.rows.std()) == pytest.approx(0.02, rel=0.02)
    assert float(parameters.body["blocks.1.ffn.in.weight"].std()) == pytest.approx(0.02, rel=0.1)
    bound = math.sqrt(6 / 256)
    assert float(parameters.body["blocks.0.attention.query.weight"].abs().max()) == pytest.approx(
        bound, rel=0.01
    )


def test_dropout_is_drawn_from_what_is_given() -> None:
    """The same noise gives the same numbers; without it nothing is dropped; with more batches it goes on."""
    parameters = fresh()
    tables, some = as_named(MODEL, parameters.tables), sequences([3, 4, 5, 9], [7, 1])

    def queries(noise: torch.Generator | None) -> torch.Tensor:
        return MODEL.queries(parameters.body, tables, batch_of(some, noise))

    one = generator(stream(1, "dropout"))
    first, second = queries(one), queries(one)
    assert torch.equal(first, queries(generator(stream(1, "dropout"))))
    assert not torch.equal(first, second)
    assert not torch.equal(first, queries(None))


def test_what_is_dropped_keeps_the_mean() -> None:
    x = torch.full((100, 100), 3.0)
    found = dropout(x, draw_dropout((100, 100), 0.25, generator(stream(0, "dropout"))))
    assert set(found.unique().tolist()) == {0.0, 4.0}
    assert float((found == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert dropout(x, None) is x


def test_examples_must_not_be_longer_than_it_reads() -> None:
    tree = {"data": {"task": "next-item", "length": 60}, "model": {"name": "sasrec"}}
    with pytest.raises(HashfedError, match=r"data.length = 60: must be at most model.length = 50"):
        make_config(tree)
    with pytest.raises(HashfedError, match=r"heads = 3: must divide model.embedding = 64"):
        make_config({"data": {"task": "next-item"}, "model": {"name": "sasrec", "heads": 3}})
    with pytest.raises(HashfedError, match=r"data.sentence_length = 20: must be at most model.length = 9"):
        make_config({"model": {"name": "sasrec", "length": 9}})
