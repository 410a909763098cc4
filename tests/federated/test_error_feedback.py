import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.compression import compress_update, expand
from hashfed.federated.error_feedback import ClientMemory, Residual, compress_with_feedback
from hashfed.federated.messages import Update
from hashfed.federated.settings import UpdatePrecision

PRECISIONS: list[UpdatePrecision] = ["float16", "bfloat16", "int8"]


def an_update(ids: list[int] | None, rows: list[list[float]], body: float, round: int = 1) -> Update:
    found = None if ids is None else np.array(ids, np.int32)
    return Update(round, 1, 0.0, {"b": torch.tensor([127.0, body])}, found, torch.tensor(rows))


def a_residual(round: int) -> Residual:
    return Residual(
        round, {"b": torch.full((2,), float(round))}, np.array([1, 3], np.int32), torch.ones(2, 4)
    )


def assert_equal(one: Residual | None, other: Residual | None) -> None:
    assert one is not None
    assert other is not None
    ones, others = one.tensors(), other.tensors()
    assert list(ones) == list(others)
    assert all(torch.equal(value, others[name]) for name, value in ones.items())


def test_two_rounds_by_hand() -> None:
    # Every slice holds 127, so all scales are 1 and numbers are rounded to integers.
    first = an_update([2, 5], [[127, 0.25], [127, 3.5]], 1.25)
    sent, residual = compress_with_feedback(first, "int8", None)
    assert expand(sent).rows.tolist() == [[127, 0], [127, 4]]
    assert residual.rows.tolist() == [[0, 0.25], [0, -0.5]]
    assert residual.body["b"].tolist() == [0, 0.25]
    assert residual.round == 1

    # Row 5 is trained on again and gets its −0.5 back; row 2 is not, and row 7 is new.
    second = an_update([5, 7], [[127, 1.0], [127, 0.25]], 1.25, round=4)
    kept = residual.rows.clone()
    sent, later = compress_with_feedback(second, "int8", residual)
    assert expand(sent).rows.tolist() == [[127, 0], [127, 0]]  # 0.5 to the even neighbour
    assert later.rows.tolist() == [[0, 0.5], [0, 0.25]]
    assert expand(sent).body["b"].tolist() == [127, 2]  # 1.5 to the even neighbour
    assert later.body["b"].tolist() == [0, -0.5]
    assert later.round == 4
    assert later.ids is not None
    assert later.ids.tolist() == [5, 7]
    assert torch.equal(residual.rows, kept)


@pytest.mark.parametrize("now", [None, [0, 1, 2], [2]])
@pytest.mark.parametrize("then", [None, [0, 1, 2], [2], [0]])
def test_all_rows_and_named_rows_fit_together(now: list[int] | None, then: list[int] | None) -> None:
    def rows(ids: list[int] | None) -> list[list[float]]:
        return [[127, 0.25]] * (3 if ids is None else len(ids))

    _, residual = compress_with_feedback(an_update(then, rows(then), 0.0), "int8", None)
    _, later = compress_with_feedback(an_update(now, rows(now), 0.0, 2), "int8", residual)
    both = set(now or range(3)) & set(then or range(3))
    expected = [0.5 if row in both else 0.25 for row in now or range(3)]
    assert later.rows[:, 1].tolist() == expected


@pytest.mark.parametrize("precision", PRECISIONS)
@given(seed=st.integers(0, 10**6), rounds=st.integers(1, 6), size=st.floats(1e-4, 1e2))
def test_what_was_sent_and_the_residual_add_up_to_the_updates(
    precision: UpdatePrecision, seed: int, rounds: int, size: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    residual: Residual | None = None
    names = ("rows", "b", "c")
    totals: dict[str, torch.Tensor] = {}
    received: dict[str, torch.Tensor] = {}
    for round in range(1, rounds + 1):
        rows, b, c = (size * torch.randn(shape, generator=generator) for shape in ((3, 4), (5,), (2, 2)))
        for name, value in zip(names, (rows, b, c), strict=True):
            totals[name] = totals.get(name, 0) + value.double()
        update = Update(round, 1, 0.0, {"b": b, "c": c}, np.array([0, 4, 6], np.int32), rows)
        message, residual = compress_with_feedback(update, precision, residual)
        found = expand(message)
        for name, value in zip(names, (found.rows, found.body["b"], found.body["c"]), strict=True):
            received[name] = received.get(name, 0) + value.double()
    assert residual is not None
    for name, value in zip(names, (residual.rows, residual.body["b"], residual.body["c"]), strict=True):
        torch.testing.assert_close(received[name] + value, totals[name], rtol=0, atol=1e-5 * size * rounds)


def test_without_a_residual_the_message_is_as_without_feedback() -> None:
    rows = [[1.0, 2.5], [3.0, 4.1]]
    sent, _ = compress_with_feedback(an_update([1, 2], rows, 0.3), "int8", None)
    plain = compress_update(an_update([1, 2], rows, 0.3), "int8")
    assert all(torch.equal(value, plain.tensors()[name]) for name, value in sent.tensors().items())


def test_a_residual_survives_as_arrays_and_in_a_pipe() -> None:
    one = a_residual(7)
    assert_equal(Residual.read(one.tensors()), one)
    assert_equal(pickle.loads(pickle.dumps(one)), one)
    everything = Residual(2, {}, None, torch.ones(3, 2))
    assert_equal(pickle.loads(pickle.dumps(everything)), everything)
    assert_equal(one.cpu(), one)


def test_a_memory_has_the_residual_of_the_update_that_was_used() -> None:
    assert ClientMemory().of(0) is None
    memory = ClientMemory(a_residual(3), a_residual(5))
    assert_equal(memory.of(3), a_residual(3))
    assert_equal(memory.of(5), a_residual(5))
    assert [memory.of(round) for round in (0, 2, 4, 6)] == [None] * 4


def test_a_memory_survives_as_arrays() -> None:
    for memory in (
        ClientMemory(),
        ClientMemory(None, a_residual(1)),
        ClientMemory(a_residual(1), a_residual(2)),
    ):
        found = ClientMemory.read(memory.tensors())
        assert list(found.tensors()) == list(memory.tensors())
        for name, value in memory.tensors().items():
            assert torch.equal(found.tensors()[name], value)
