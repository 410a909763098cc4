import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated import client, server
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows
from hashfed.federated.settings import ClientSettings
from hashfed.models import Batch, Model, Parameters, Transformer
from hashfed.models.losses import LOSSES
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.randomness import stream
from hashfed.retrieval import Selection, SelectionSettings, build_index, retrieval_settings
from hashfed.tasks.sequences import Sequences
from small import fitting

MODEL = Transformer(embedding=8, attention=8, heads=2, ffn=12, blocks=1)
SIZE = 30
SOFTMAX = LOSSES["softmax"].gradients


def parameters() -> Parameters:
    return MODEL.init({"output": SIZE}, stream(0, "init"))


def sentences(seed: int = 0, count: int = 7) -> Sequences:
    rng = np.random.default_rng(seed)
    ids = np.zeros((count, 5), np.int32)
    for row in ids:
        words = rng.integers(4, SIZE, rng.integers(1, 4))
        row[: len(words) + 2] = [2, *words, 3]
    return Sequences(ids[:, :-1].copy(), ids[:, 1:].copy())


class TwoWords(Model):
    """The smallest model: the query after an input is that input's row times a body scalar."""

    tables: ClassVar = {OUTPUT: 1}
    tied: ClassVar = {INPUT: OUTPUT}

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Parameters:
        return Parameters({OUTPUT: torch.zeros(sizes[OUTPUT], 1)}, {"scale": torch.zeros(1)})

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"scale": (1,)}

    def queries(
        self, body: Mapping[str, torch.Tensor], tables: Mapping[str, torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        return tables[INPUT][batch.columns["inputs"][batch.columns["predicted"]]] * body["scale"]

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        return positions


def test_one_step_of_a_two_word_example_by_hand() -> None:
    # Rows 5 and 9 with values a = 1 and b = -1, scale s = 2; input 5, label 9; SGD with rate 0.1.
    # Query q = a·s = 2; logits (a·q, b·q) = (2, -2); p = softmax; loss = -log p(9).
    # d logits = (p₅, p₉ - 1) = (p, -p) with p = 1/(1 + e⁻⁴).
    # dq = p·a - p·b = 2p; da = p·q + dq·s = 2p + 4p = 6p; db = -p·q = -2p; ds = dq·a = 2p.
    p = 1 / (1 + math.exp(-4))
    data = Sequences(np.array([[5]], np.int32), np.array([[9]], np.int32))
    local = client.LocalModel(
        np.array([5, 9]), torch.tensor([[1.0], [-1.0]]), None, {"scale": torch.tensor([2.0])}
    )
    settings = ClientSettings(learning_rate=0.1)
    update, _ = client.train(TwoWords(), local, data, settings, SOFTMAX, 3, stream(0, "train"))
    np.testing.assert_allclose(update.rows.numpy(), [[-0.6 * p], [0.2 * p]], rtol=1e-5)
    np.testing.assert_allclose(update.body["scale"].numpy(), [-0.2 * p], rtol=1e-5)
    assert update.ids is not None
    assert update.ids.tolist() == [5, 9]
    assert (update.round, update.weight) == (3, 1)
    assert math.isclose(update.loss, 4 + math.log1p(math.exp(-4)), rel_tol=1e-6)


def test_own_rows_are_the_distinct_ids_of_inputs_and_labels() -> None:
    data = Sequences(np.array([[2, 7, 0], [2, 5, 7]], np.int32), np.array([[7, 3, 0], [5, 7, 9]], np.int32))
    assert client.declare(MODEL, data, 1, 9).own.tolist() == [2, 3, 5, 7, 9]


def test_the_model_a_client_received_is_left_as_it_was() -> None:
    full = parameters()
    before = full.clone()
    local = client.LocalModel(None, full.rows, None, full.body)
    client.train(MODEL, local, sentences(), ClientSettings(), SOFTMAX, 1, stream(0, "train"))
    assert all(torch.equal(full.named()[name], value) for name, value in before.named().items())


def selected_update(order: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """An update on own rows and five others that arrive in the given order."""
    full, data = parameters(), sentences(seed)
    declared = client.declare(MODEL, data, 1, 21)
    others = np.setdiff1d(np.arange(SIZE), declared.own)[:5].astype(np.int32)[order]
    index = build_index(full.rows, retrieval_settings("random"), np.ones(SIZE), 0)
    welcome = server.welcome(full, index, declared)
    weight = torch.from_numpy(others.astype(np.float32) / 10)
    selected = SelectedRows(1, 99, others, full.rows[torch.from_numpy(others)], weight)
    local = client.join_rows(welcome, declared, selected)
    update, _ = client.train(MODEL, local, data, ClientSettings(), SOFTMAX, 1, stream(0, "train"))
    return update.tensors()


@given(st.permutations(range(5)))
def test_the_order_in_which_rows_arrive_changes_nothing(order: list[int]) -> None:
    one, two = selected_update([0, 1, 2, 3, 4]), selected_update(list(order))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_scatter_of_gather_is_the_table() -> None:
    full = parameters()
    own = np.array([1, 4, 7], np.int32)
    ids = np.setdiff1d(np.arange(SIZE), own).astype(np.int32)
    index = build_index(full.rows, retrieval_settings("random"), np.ones(SIZE), 0)
    declared = Declare(1, own, 9)
    welcome = server.welcome(full, index, declared)
    selected = server.send_rows(full, Selection.all(SIZE), own, SIZE, 1)
    assert selected.ids is not None
    assert selected.ids.tolist() == ids.tolist()
    local = client.join_rows(welcome, declared, selected)
    assert torch.equal(local.rows, full.rows)


def test_hashing_needs_no_row_but_the_clients_own() -> None:
    full, data = parameters(), sentences()
    declared = client.declare(MODEL, data, 1, 21)
    settings = retrieval_settings("simhash-collisions", bits=3, tables=5)
    index = build_index(full.rows, settings, np.ones(SIZE), 0)
    welcome = server.welcome(full, index, declared)
    keys = client.hash_queries(MODEL, welcome, declared, data)
    everything = client.LocalModel(None, full.rows, None, full.body)
    expected = index.encoder.encode(torch.cat(list(client._query_batches(MODEL, everything, data))))
    assert keys.keys["buckets"].tolist() == expected["buckets"].tolist()
    assert keys.keys["counts"].sum() == data.weight * 5


def test_drop_keeps_own_rows_the_tail_and_the_largest_activations() -> None:
    full, data = parameters(), sentences(count=2)
    own = client.declare(MODEL, data, 1, 9).own
    others = np.setdiff1d(np.arange(SIZE), own).astype(np.int32)
    tail = others[-4:]
    ids = np.arange(SIZE)
    weight = torch.from_numpy(np.isin(ids, tail).astype(np.float32))
    local = client.LocalModel(ids, full.rows, weight, full.body)
    budget = len(own) + len(tail) + 3
    kept = client.drop_rows(MODEL, local, own, data, budget)
    assert kept.ids is not None
    assert len(kept.ids) == budget
    assert np.isin(own, kept.ids).all()
    assert np.isin(tail, kept.ids).all()
    queries = torch.cat(list(client._query_batches(MODEL, local, data)))
    mass = torch.softmax(queries @ full.rows.T, 1).sum(0).numpy()
    candidates = np.setdiff1d(others, tail)
    best = candidates[np.argsort(-mass[candidates])[:3]]
    assert np.isin(best, kept.ids).all()
    assert torch.equal(kept.rows, full.rows[torch.from_numpy(kept.ids)])


class _NoQueries:
    """A model that must not be asked."""

    def queries(self, *_: object) -> torch.Tensor:
        raise AssertionError("a pass over the data that decides nothing")


@pytest.mark.parametrize("budget", [1, 4, 5])
@pytest.mark.parametrize("others", [0, 3])
def test_drop_asks_no_activation_where_own_rows_fill_the_budget(budget: int, others: int) -> None:
    full, data = parameters(), sentences(count=2)
    own = np.array([1, 3, 5, 7, 9])
    ids = np.union1d(own, np.arange(0, 2 * others, 2))
    local = client.LocalModel(ids, full.rows[torch.from_numpy(ids)], None, full.body)
    kept = client.drop_rows(cast(Model, _NoQueries()), local, own, data, budget)
    assert kept.ids is not None
    assert kept.ids.tolist() == own.tolist()
    assert torch.equal(kept.rows, full.rows[torch.from_numpy(own)])


def test_truncate_trains_on_the_sentences_whose_rows_fit() -> None:
    data = sentences(count=7)
    keep = ClientSettings(own_rows="keep")
    cut = ClientSettings(own_rows="truncate")
    whole = client.sample_examples(MODEL, data, keep, 8, stream(1, "sample"))
    part = client.sample_examples(MODEL, data, cut, 8, stream(1, "sample"))
    assert len(whole) == 7
    assert 1 <= len(part) < 7
    assert len(part.own(OUTPUT, INPUT)) <= 8
    assert np.array_equal(part.inputs, whole.inputs[: len(part)])
    one_more = whole.take(np.arange(len(part) + 1))
    assert len(one_more.own(OUTPUT, INPUT)) > 8


def test_sampling_takes_each_sentence_at_most_once() -> None:
    data = Sequences(np.arange(20, dtype=np.int32)[:, None], np.ones((20, 1), np.int32))
    drawn = client.sample_examples(MODEL, data, ClientSettings(examples=12), 99, stream(0, "sample"))
    assert len(set(drawn.inputs.ravel().tolist())) == 12


def test_epochs_and_clipping_are_used() -> None:
    full, data = parameters(), sentences()
    local = client.LocalModel(None, full.rows, None, full.body)

    def change(settings: ClientSettings) -> float:
        return float(
            client.train(MODEL, local, data, settings, SOFTMAX, 1, stream(0, "train"))[0].rows.norm()
        )

    base = ClientSettings(learning_rate=0.05, batch_size=99)
    assert change(base.model_copy(update={"epochs": 3})) > change(base)
    assert change(base.model_copy(update={"clip": 1e-3})) <= 0.05 * 1e-3 * 1.001


@pytest.mark.parametrize(
    "method",
    [
        "random",
        "frequency",
        "simhash-union",
        "simhash-collisions",
        "exact",
        "query-codes",
        "query-centroids",
        "product-codes",
        "cells",
        "faiss",
    ],
)
def test_every_method_sends_the_budget(method: Any) -> None:
    full, data = parameters(), sentences(count=3)
    declared = client.declare(MODEL, data, 1, 21)
    settings = retrieval_settings(**fitting(method, bits=3, tables=4, subspaces=2))
    index = build_index(full.rows, settings, np.arange(SIZE), 0)
    keys = client.hash_queries(MODEL, server.welcome(full, index, declared), declared, data)
    selection, _ = server.retrieve(
        index, keys, declared, SIZE, full.rows.shape[1], SelectionSettings(budget=1), stream(0, "select")
    )
    assert len(selection.ids) == 21
    assert np.isin(declared.own, selection.ids).all()
    sent = server.send_rows(full, selection, declared.own, 21, 1)
    assert sent.ids is not None
    assert not np.isin(sent.ids, declared.own).any()
    assert len(sent.ids) + len(declared.own) == 21


def test_an_uncorrected_selection_sends_no_weights() -> None:
    full = parameters()
    selection = Selection(np.array([1, 2]), np.zeros(2, np.float32))
    assert server.send_rows(full, selection, np.array([1], np.int32), 2, 1).log_weight is None
    corrected = replace(selection, log_weight=np.array([0, 1.5], np.float32))
    sent = server.send_rows(full, corrected, np.array([1], np.int32), 2, 1)
    assert sent.log_weight is not None
    assert sent.log_weight.tolist() == [1.5]


@pytest.mark.parametrize(
    ("own", "budget", "message"),
    [
        ([1, 400], 9, "round 3: declared rows: ids from 1 to 400: this index has rows 0 to 29"),
        ([-1, 5], 9, "round 3: declared rows: ids from -1 to 5: this index has rows 0 to 29"),
        ([1, 1, 2], 9, "round 3: declared rows: ids 1, 1: must ascend without repetition"),
        ([5, 2], 9, "round 3: declared rows: ids 5, 2: must ascend without repetition"),
        ([1, 2], 0, "round 3: declared budget = 0: must be at least 1"),
        ([1, 2], -5, "round 3: declared budget = -5: must be at least 1"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(own: list[int], budget: int, message: str) -> None:
    full = parameters()
    index = build_index(full.rows, retrieval_settings("random"), np.ones(SIZE), 0)
    declared = Declare(3, np.array(own, np.int32), budget)
    with pytest.raises(HashfedError) as caught:
        server.welcome(full, index, declared)
    assert str(caught.value) == message
    with pytest.raises(HashfedError) as caught:
        server.retrieve(index, ClientKeys(3, {}), declared, SIZE, 4, SelectionSettings(), stream(0, "select"))
    assert str(caught.value) == message


@pytest.mark.parametrize(("asked", "rows"), [(300, 9), (9, 9), (4, 4)])
def test_a_client_may_lower_the_budget_but_not_raise_it(asked: int, rows: int) -> None:
    full = parameters()
    index = build_index(full.rows, retrieval_settings("random"), np.ones(SIZE), 0)
    declared = Declare(3, np.array([1, 2], np.int32), asked)
    settings = SelectionSettings(budget=0.3)
    found, _ = server.retrieve(index, ClientKeys(3, {}), declared, SIZE, 4, settings, stream(0, "select"))
    assert len(found.ids) == rows


@pytest.mark.parametrize("method", ["simhash-union", "exact", "query-codes", "query-centroids"])
def test_queries_that_are_not_finite_are_refused(method: str) -> None:
    full, data = parameters(), sentences(count=2)
    index = build_index(full.rows, retrieval_settings(method), np.ones(SIZE), 0)
    for value in full.body.values():
        value.fill_(torch.nan)
    declared = client.declare(MODEL, data, 1, 9)
    welcome = server.welcome(full, index, declared)
    with pytest.raises(HashfedError, match="queries are not finite: the training diverged"):
        client.hash_queries(MODEL, welcome, declared, data)
