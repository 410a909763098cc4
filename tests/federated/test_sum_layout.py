import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.common_state import CommonState
from hashfed.federated.model_shape import ModelShape
from hashfed.federated.sum_layout import COUNTS, SumLayout, join_counts, split_counts

SHAPE = ModelShape({"output": (7, 3), "input": (5, 2)}, {"scale": (), "hidden": (2, 3)})


def test_the_parts_in_order() -> None:
    layout = SumLayout.of(SHAPE, rows=4, planes=2)
    assert dict(layout.shapes) == {
        "body.hidden": (2, 3),
        "body.scale": (),
        "tables.output": (4, 3),
        "tables.input": (5, 2),
        "tail": (2, 3),
        "sums": (2, 3),
        "sizes": (2,),
        "squares": (2,),
    }
    assert layout.sizes.tolist() == [6, 1, 12, 10, 6, 6, 2, 2]
    assert layout.length == 45 + 2 * len(COUNTS)


@pytest.mark.parametrize("planes", [0, 2])
def test_what_is_flattened_comes_back(planes: int) -> None:
    layout = SumLayout.of(SHAPE, 7, planes)
    values = {name: torch.randn(shape) for name, shape in layout.shapes.items()}
    found = layout.split(layout.flatten(values))
    assert list(found) == list(values)
    assert all(torch.equal(found[name], value) for name, value in values.items())
    largest = dict(zip(layout.shapes, layout.largest(layout.flatten(values)), strict=True))
    assert largest["tables.output"] == pytest.approx(float(values["tables.output"].abs().max()))


@given(st.lists(st.integers(0, 2**30), min_size=3, max_size=3), st.integers(8, 24))
def test_counts_add_up_in_integers(given: list[int], bits: int) -> None:
    most = (1 << 2 * (bits - 1)) - 1
    told = [dict.fromkeys(COUNTS, 1) | {"loss": value, "rows": value // 2} for value in given]
    parts = [split_counts(counts, bits) for counts in told]
    assert all(part.min() >= 0 and part.max() < 1 << (bits - 1) for part in parts)
    found = join_counts(np.sum(parts, 0), bits)
    assert found["loss"] == sum(min(value, most) for value in given)
    assert found["rows"] == sum(min(value // 2, most) for value in given)
    assert found["predictions"] == 3


def test_ranges_follow_the_sums() -> None:
    layout = SumLayout.of(SHAPE, 7, 2)
    state = CommonState.fresh(layout, torch.randn(7, 3), 2, 0.5, 40, 40.0, np.random.default_rng(0))
    ranges = dict(zip(layout.shapes, state.ranges.tolist(), strict=True))
    assert ranges["body.hidden"] == ranges["tables.output"] == ranges["tail"] == 20
    assert ranges["sizes"] == 40
    values = {name: torch.zeros(shape) for name, shape in layout.shapes.items()}
    values["tables.output"][2, 1] = -30.0
    values["tables.input"][0, 0] = 1.0
    state.follow(layout, layout.flatten(values), np.random.default_rng(0))
    ranges = dict(zip(layout.shapes, state.ranges.tolist(), strict=True))
    assert ranges["tables.output"] == 60  # twice the largest number of the sum
    assert ranges["tables.input"] == 10  # at least half of what it was
