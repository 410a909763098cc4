"""Law 12 with a real client: at its points, one step moves everything as the full layer's does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hashfed.federated import client
from hashfed.federated.compression import NUMBERS
from hashfed.federated.messages import ClientKeys, Declare, Update
from hashfed.federated.server import PlanesPlan, planes_of, retrieve, send_rows, welcome
from hashfed.federated.settings import ClientSettings, RowPrecision
from hashfed.federated.sums import PseudoGradient, RowShares
from hashfed.models import Parameters, Transformer, output_gradients
from hashfed.randomness import stream
from hashfed.retrieval import SelectionSettings, build_index, retrieval_settings
from hashfed.retrieval.planes import Planes, Tail
from hashfed.tasks.sequences import Sequences
from summed import mean_of

MODEL = Transformer(embedding=8, attention=8, heads=2, ffn=12, blocks=1)
SIZE = 40
STEP = ClientSettings(learning_rate=0.5, batch_size=99)


def a_model() -> Parameters:
    """Wider than at its beginning, so that the rows differ."""
    made = MODEL.init({"output": SIZE}, stream(0, "init"))
    return Parameters({"output": made.rows * 20}, made.body)


def data() -> Sequences:
    rng = np.random.default_rng(5)
    ids = np.zeros((4, 5), np.int32)
    for row in ids:
        words = rng.integers(4, SIZE, 3)
        row[:] = [2, *words, 3]
    return Sequences(ids[:, :-1].copy(), ids[:, 1:].copy())


def summed(parameters: Parameters, update: Update, tail: Tail | None) -> PseudoGradient:
    return mean_of([(update, tail)], parameters.rows, "cohort", RowShares.fresh({"output": SIZE}))


def full_step(parameters: Parameters) -> PseudoGradient:
    local = client.LocalModel(None, parameters.rows, None, parameters.body)
    update, bounded = client.train(MODEL, local, data(), STEP, output_gradients, 1, stream(0, "train"))
    assert bounded == 0
    return summed(parameters, update, None)


def step(
    parameters: Parameters, points: int, draw: int, extra: int, precision: RowPrecision = "none"
) -> PseudoGradient:
    """Of a client that tells its queries as they are and holds so many rows more than it needs."""
    settings = SelectionSettings(extra=extra)
    index = build_index(parameters.rows, retrieval_settings("exact"), np.ones(SIZE), 0)
    sentences = data()
    declared = client.declare(MODEL, sentences, 1, SIZE)
    own = declared.own
    assert isinstance(declared, Declare)
    answer = welcome(parameters, index, declared)
    keys = client.hash_queries(MODEL, answer, declared, sentences)
    assert isinstance(keys, ClientKeys)
    selection, _ = retrieve(index, keys, declared, SIZE, 8, settings, stream(draw, "select"))
    assert len(selection.ids) == len(own) + extra < SIZE
    planes: Planes | None = None
    tail: Tail | None = None
    if points > 0:
        plan = PlanesPlan(points, 0, None, NUMBERS[precision], False)
        made = planes_of(parameters, index, keys, selection, plan)
        assert made is not None
        planes, tail = made
    sent = send_rows(parameters, selection, own, len(selection.ids), 1, planes)
    local = client.join_rows(answer, declared, sent)
    if precision != "none":
        assert local.planes is not None
        local = replace(local, planes=Planes(*(value.float() for value in local.planes.tensors())))
    update, bounded = client.train(MODEL, local, sentences, STEP, output_gradients, 1, stream(0, "train"))
    assert bounded == 0
    return summed(parameters, update, tail)


@pytest.mark.parametrize("extra", [0, 1, 5])
def test_with_a_point_at_each_query_the_draw_changes_nothing(extra: int) -> None:
    parameters = a_model()
    expected = full_step(parameters)
    for draw in range(6):
        found = step(parameters, 1000, draw, extra)
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.tables["output"].ids.tolist() == list(range(SIZE))
        size = float(expected.tables["output"].rows.abs().max())
        torch.testing.assert_close(
            found.tables["output"].rows, expected.tables["output"].rows, rtol=1e-3, atol=1e-4 * size
        )
        for name, value in expected.body.items():
            size = float(value.abs().max())
            torch.testing.assert_close(found.body[name], value, rtol=1e-3, atol=1e-4 * size)


def test_slopes_in_fewer_bits_lose_only_the_queries_gradient() -> None:
    """The loss and every row's move are as without: planes meet the tail at their points all the same."""
    parameters = a_model()
    expected, found = full_step(parameters), step(parameters, 1000, 1, 5, "bfloat16")
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    used = np.setdiff1d(np.arange(SIZE), np.unique(data().inputs))  # the others get a gradient of inputs too
    torch.testing.assert_close(
        found.tables["output"].rows[used], expected.tables["output"].rows[used], rtol=1e-3, atol=1e-5
    )
    assert any(not torch.allclose(found.body[name], value) for name, value in expected.body.items())


def test_without_planes_the_draw_changes_a_lot() -> None:
    """The mean distance to the full step: planes are what brings it down."""
    parameters = a_model()
    expected = full_step(parameters).tables["output"].rows
    errors = {}
    for points in (0, 1000):
        found = [step(parameters, points, draw, 3).tables["output"] for draw in range(4)]
        moved = [torch.zeros(SIZE, 8).index_add_(0, torch.from_numpy(one.ids), one.rows) for one in found]
        errors[points] = float(np.mean([float((rows - expected).norm()) for rows in moved]))
    assert errors[1000] < 0.01 * errors[0]
