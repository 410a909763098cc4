"""Sequences against a plain list of (inputs, targets) lists."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.sequences import PAD, Sequences

LENGTH = 5
Plain = list[tuple[list[int], list[int]]]
"""Inputs and targets of each sequence, without padding."""

IDS = st.integers(1, 30)
PAIRS = st.lists(st.tuples(IDS, IDS), min_size=1, max_size=LENGTH)
PLAIN = st.lists(
    PAIRS.map(lambda pairs: ([a for a, _ in pairs], [b for _, b in pairs])), min_size=1, max_size=6
)


def pad(plain: Plain) -> Sequences:
    """What stands in the padding of the inputs is any row: here one that nobody else has."""
    inputs = np.full((len(plain), LENGTH), 99, np.int32)
    targets = np.full((len(plain), LENGTH), PAD, np.int32)
    for number, (read, found) in enumerate(plain):
        inputs[number, : len(read)] = read
        targets[number, : len(found)] = found
    return Sequences(inputs, targets)


def same(one: Sequences, other: Sequences) -> bool:
    return (
        np.array_equal(one.inputs, other.inputs)
        and np.array_equal(one.targets, other.targets)
        and one.inputs.dtype == one.targets.dtype == np.int32
    )


@given(PLAIN)
def test_sizes(plain: Plain) -> None:
    found = pad(plain)
    weights = [len(targets) for _, targets in plain]
    assert len(found) == len(plain)
    assert found.weights.tolist() == weights
    assert found.weights.dtype == np.int64
    assert found.weight == sum(weights)
    assert found.shape == (len(plain), LENGTH)


@given(PLAIN, st.data())
def test_take(plain: Plain, data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=9))
    found = pad(plain).take(np.array(index, np.int64))
    assert same(found, pad([plain[number] for number in index]))


@given(PLAIN, st.lists(PLAIN, max_size=3))
def test_join(plain: Plain, others: list[Plain]) -> None:
    found = pad(plain).join([pad(other) for other in others])
    assert same(found, pad(plain + [one for other in others for one in other]))


@given(PLAIN)
def test_rows_that_they_need(plain: Plain) -> None:
    read = {id for inputs, _ in plain for id in inputs}
    wanted = {id for _, targets in plain for id in targets}
    found = pad(plain)
    assert found.own(OUTPUT).tolist() == sorted(wanted)
    assert found.own(INPUT).tolist() == sorted(read)
    assert found.own(OUTPUT, INPUT).tolist() == sorted(read | wanted)
    assert found.own(OUTPUT).dtype == found.own(OUTPUT, INPUT).dtype == np.int64


@given(PLAIN)
def test_columns_round_trip(plain: Plain) -> None:
    found = pad(plain)
    columns = found.columns()
    assert same(Sequences(**columns), found)
    assert all(values.dtype == np.int32 for values in columns.values())


@given(PLAIN, st.booleans(), st.data())
def test_a_batch_of_bound_sequences(plain: Plain, everything: bool, data: st.DataObject) -> None:
    """Positions name the rows that ids do, where all rows are at hand and where some are."""
    examples = pad(plain)
    held: dict[str, np.ndarray | None] = dict.fromkeys((INPUT, OUTPUT))
    if not everything:
        more = data.draw(st.lists(IDS, max_size=5))
        held = {name: np.union1d(examples.own(name), more).astype(np.int64) for name in held}
    bound = examples.bind(held, torch.device("cpu"))
    assert bound.weights.tolist() == examples.weights.tolist()
    index = data.draw(st.lists(st.integers(0, len(plain) - 1), min_size=1, max_size=5))
    batch = bound.batch(torch.tensor(index))
    chosen = [plain[number] for number in index]

    def ids(name: str, positions: torch.Tensor) -> list[int]:
        rows = held[name]
        return positions.tolist() if rows is None else rows[positions.numpy()].tolist()

    predicted = batch.columns["predicted"]
    assert batch.tables == {"inputs": INPUT}
    assert predicted.sum(1).tolist() == [len(targets) for _, targets in chosen]
    assert batch.columns["inputs"].shape == predicted.shape == (len(index), LENGTH)
    assert ids(INPUT, batch.columns["inputs"][predicted]) == [id for inputs, _ in chosen for id in inputs]
    assert batch.targets.counts is None
    assert ids(OUTPUT, batch.targets.rows) == [id for _, targets in chosen for id in targets]
    assert batch.targets.rows.dtype == batch.columns["inputs"].dtype == torch.int64


def test_a_sequence_has_no_other_table() -> None:
    with pytest.raises(KeyError, match="features"):
        pad([([1], [2])]).own("features")
