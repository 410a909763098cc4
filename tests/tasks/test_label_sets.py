"""Sets of features and labels against a plain list of (features with values, labels)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.label_sets import LabelSets

Example = tuple[dict[int, float], list[int]]
"""Features with their values, and labels."""

IDS = st.integers(0, 30)
VALUES = st.floats(-9, 9, width=32)
PLAIN = st.lists(
    st.tuples(
        st.dictionaries(IDS, VALUES, min_size=1, max_size=5),
        st.lists(IDS, min_size=1, max_size=4, unique=True),
    ),
    min_size=1,
    max_size=6,
)
TYPES = {
    "features": np.int32,
    "values": np.float32,
    "feature_counts": np.int64,
    "labels": np.int32,
    "label_counts": np.int64,
}


def make(plain: list[Example]) -> LabelSets:
    return LabelSets(
        features=np.array([id for features, _ in plain for id in features], np.int32),
        values=np.array([value for features, _ in plain for value in features.values()], np.float32),
        feature_counts=np.array([len(features) for features, _ in plain], np.int64),
        labels=np.array([id for _, labels in plain for id in labels], np.int32),
        label_counts=np.array([len(labels) for _, labels in plain], np.int64),
    )


def same(one: LabelSets, other: LabelSets) -> bool:
    pairs = zip(one.columns().items(), other.columns().values(), strict=True)
    return all(np.array_equal(values, due) and values.dtype == TYPES[name] for (name, values), due in pairs)


@given(PLAIN)
def test_sizes(plain: list[Example]) -> None:
    found = make(plain)
    assert len(found) == found.weight == len(plain)
    assert found.weights.tolist() == [1] * len(plain)
    assert found.weights.dtype == np.int64
    most = sum(len(features) for features, _ in plain) / len(plain)
    assert found.shape == (len(plain), int(np.ceil(most)))


@given(PLAIN, st.data())
def test_take(plain: list[Example], data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=9))
    assert same(make(plain).take(np.array(index, np.int64)), make([plain[number] for number in index]))


@given(PLAIN, st.lists(PLAIN, max_size=3))
def test_join(plain: list[Example], others: list[list[Example]]) -> None:
    found = make(plain).join([make(other) for other in others])
    assert same(found, make(plain + [one for other in others for one in other]))


@given(PLAIN)
def test_rows_that_they_need(plain: list[Example]) -> None:
    found = make(plain)
    assert found.own(INPUT).tolist() == sorted({id for features, _ in plain for id in features})
    assert found.own(OUTPUT).tolist() == sorted({id for _, labels in plain for id in labels})
    assert found.own(INPUT).dtype == found.own(OUTPUT).dtype == np.int64


@given(PLAIN)
def test_columns_round_trip(plain: list[Example]) -> None:
    found = make(plain)
    columns = found.columns()
    assert list(columns) == list(TYPES)
    assert same(LabelSets(**columns), found)


@given(PLAIN, st.booleans(), st.data())
def test_a_batch_of_bound_sets(plain: list[Example], everything: bool, data: st.DataObject) -> None:
    """Positions name the rows that ids do, where all rows are at hand and where some are."""
    examples = make(plain)
    held: dict[str, np.ndarray | None] = {INPUT: None, OUTPUT: None}
    if not everything:
        more = data.draw(st.lists(IDS, max_size=5))
        held = {name: np.union1d(examples.own(name), more).astype(np.int64) for name in held}
    bound = examples.bind(held, torch.device("cpu"))
    assert bound.weights.tolist() == [1] * len(plain)
    index = data.draw(st.lists(st.integers(0, len(plain) - 1), min_size=1, max_size=5))
    batch = bound.batch(torch.tensor(index))
    chosen = [plain[number] for number in index]

    def ids(name: str, positions: torch.Tensor) -> list[int]:
        rows = held[name]
        return positions.tolist() if rows is None else rows[positions.numpy()].tolist()

    assert batch.tables == {"features": INPUT}
    ends = [*batch.columns["starts"].tolist(), len(batch.columns["features"])]
    for (features, _), start, end in zip(chosen, ends[:-1], ends[1:], strict=True):
        assert ids(INPUT, batch.columns["features"][start:end]) == list(features)
        assert batch.columns["values"][start:end].tolist() == list(features.values())
    assert len(batch.targets) == len(index)
    for number, (_, labels) in enumerate(chosen):
        assert ids(OUTPUT, batch.targets.rows[batch.targets.owners == number]) == labels
    assert batch.targets.rows.dtype == batch.columns["features"].dtype == torch.int64
    assert batch.columns["values"].dtype == torch.float32


def test_a_bag_of_features_reads_a_batch_as_it_is() -> None:
    """The columns are those that ``torch.nn.functional.embedding_bag`` asks for."""
    plain: list[Example] = [({4: 2.0, 1: -1.0}, [0]), ({3: 1.0}, [2, 5]), ({1: 0.5, 2: 1.0, 4: 3.0}, [1])]
    table = torch.arange(10.0).view(5, 2)
    batch = make(plain).bind({INPUT: None, OUTPUT: None}, torch.device("cpu")).batch(torch.tensor([2, 0]))
    found = torch.nn.functional.embedding_bag(
        batch.columns["features"],
        table,
        batch.columns["starts"],
        mode="sum",
        per_sample_weights=batch.columns["values"],
    )
    expected = [0.5 * table[1] + table[2] + 3 * table[4], 2 * table[4] - table[1]]
    assert torch.equal(found, torch.stack(expected))


def test_a_set_has_no_other_table() -> None:
    with pytest.raises(KeyError, match="hidden"):
        make([({1: 1.0}, [2])]).own("hidden")
