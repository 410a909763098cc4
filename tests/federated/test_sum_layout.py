import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated.common_state import LEAST_RANGE, CommonState
from hashfed.federated.model_shape import ModelShape
from hashfed.federated.sum_layout import COUNT_BITS, COUNTS, SATURATED, SumLayout

SHAPE = ModelShape({"output": (7, 3), "input": (5, 2)}, {"scale": (), "hidden": (2, 3)})


def zeros(layout: SumLayout) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(shape) for name, shape in layout.shapes.items()}


def written(
    layout: SumLayout, values: dict[str, torch.Tensor], width: float = 1.0, seed: int = 0
) -> np.ndarray:
    ranges, rng = np.full(len(layout.shapes), width), np.random.default_rng(seed)
    return layout.write(dict(values), dict.fromkeys(COUNTS, 1), ranges, rng)


def test_the_parts_in_order() -> None:
    layout = SumLayout.of(SHAPE, rows=4, planes=2, bits=16)
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
    assert (layout.parts["body.scale"], layout.parts["tables.output"]) == (slice(6, 7), slice(7, 19))
    assert layout.reals == 45
    assert layout.length == 45 + 3 * (len(COUNTS) + 8)


@pytest.mark.parametrize("planes", [0, 2])
def test_clients_add_up_to_what_they_wrote(planes: int) -> None:
    layout = SumLayout.of(SHAPE, 7, planes, 16)
    clients = [{name: torch.rand(shape) - 0.5 for name, shape in layout.shapes.items()} for _ in range(3)]
    total = sum(written(layout, values, seed=seed) for seed, values in enumerate(clients))
    assert isinstance(total, np.ndarray)
    numbers, counts = layout.read(total.astype(np.int32), np.ones(len(layout.shapes)))
    for name, part in layout.split(numbers).items():
        assert torch.allclose(
            part, sum((values[name] for values in clients), torch.zeros(())), atol=3 / 2**15
        )
    assert counts["predictions"] == 3
    largest = dict(zip(layout.shapes, layout.largest(numbers), strict=True))
    assert largest["tables.output"] == pytest.approx(
        float(layout.split(numbers)["tables.output"].abs().max())
    )


def test_numbers_beyond_their_range_are_cut_and_counted_by_part() -> None:
    layout = SumLayout.of(SHAPE, 7, 0, 16)
    values = zeros(layout)
    values["tables.input"][0] = torch.tensor([5.0, -7.0])
    numbers, counts = layout.read(written(layout, values, width=2.0), np.full(len(layout.shapes), 2.0))
    assert layout.split(numbers)["tables.input"][0].tolist() == [2, -2]
    assert counts[f"{SATURATED}tables.input"] == 2
    assert sum(count for name, count in counts.items() if name.startswith(SATURATED)) == 2


def test_what_is_not_finite_is_refused() -> None:
    layout = SumLayout.of(SHAPE, 7, 0, 16)
    values = zeros(layout)
    values["body.hidden"][0, 0] = torch.nan
    with pytest.raises(HashfedError, match="not finite"):
        written(layout, values)


@given(st.lists(st.integers(0, 2**COUNT_BITS - 1), min_size=3, max_size=3), st.integers(8, 24))
def test_counts_add_up_in_integers_for_a_thousand_clients(given: list[int], bits: int) -> None:
    """As 32-bit numbers: ``total`` has no more."""
    layout = SumLayout.of(SHAPE, 7, 0, bits)
    rng, ranges = np.random.default_rng(0), np.ones(len(layout.shapes))
    vectors = [
        layout.write(zeros(layout), dict.fromkeys(COUNTS, 1) | {"loss": value}, ranges, rng)
        for value in given
    ]
    assert all(vector[layout.reals :].min() >= 0 for vector in vectors)
    assert all(vector[layout.reals :].max() < 1 << (bits - 1) for vector in vectors)
    times = 2**31 // 2 ** (bits - 1) // 3  # clients, before a digit's sum has more than 31 bits
    total = (np.sum(vectors, 0) * times).astype(np.int32)
    found = layout.read(total, ranges)[1]
    assert found["loss"] == sum(given) * times
    assert found["predictions"] == 3 * times


def test_a_count_that_is_too_large_is_taken_at_its_most() -> None:
    layout = SumLayout.of(SHAPE, 7, 0, 16)
    counts = dict.fromkeys(COUNTS, 1) | {"loss": 10**18}
    vector = layout.write(zeros(layout), counts, np.ones(len(layout.shapes)), np.random.default_rng(0))
    assert layout.read(vector, np.ones(len(layout.shapes)))[1]["loss"] == 2 ** (15 * layout.digits) - 1


def test_ranges_follow_the_sums() -> None:
    layout = SumLayout.of(SHAPE, 7, 2, 16)
    caps = np.full(len(layout.shapes), np.inf)
    state = CommonState.fresh(layout, torch.randn(7, 3), 2, 0.5, 40, 40.0, caps, np.random.default_rng(0))
    ranges = dict(zip(layout.shapes, state.ranges.tolist(), strict=True))
    assert ranges["body.hidden"] == ranges["tables.output"] == ranges["tail"] == 20
    assert ranges["sizes"] == 40
    numbers = np.zeros(layout.reals, np.float32)
    numbers[layout.parts["tables.output"]][7] = -30.0
    numbers[layout.parts["tables.input"]][0] = 1.0
    cut = np.array([0.01 if name == "body.scale" else 1e-5 for name in layout.shapes])
    state.follow(layout, numbers, cut, caps, np.random.default_rng(0))
    ranges = dict(zip(layout.shapes, state.ranges.tolist(), strict=True))
    assert ranges["tables.output"] == 60  # twice the largest number of the sum
    assert ranges["tables.input"] == 10  # at least half of what it was
    assert ranges["body.scale"] == 40  # twice what it was: much was cut, which the sum need not show
    state.follow(layout, numbers, cut, np.minimum(caps, 25), np.random.default_rng(0))
    assert max(state.ranges.tolist()) == 25  # no client that clips adds more
    for _ in range(1200):
        state.follow(layout, np.zeros(layout.reals, np.float32), cut * 0, caps, np.random.default_rng(0))
    assert state.ranges.tolist() == [LEAST_RANGE] * len(layout.shapes)
