import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashfed.hashing import center

VALUES = st.floats(-100, 100)


@given(st.data(), st.integers(1, 12), st.integers(1, 6))
def test_centring_keeps_the_order_of_inner_products(data: st.DataObject, size: int, dimension: int) -> None:
    rows = torch.from_numpy(data.draw(hnp.arrays(np.float64, (size, dimension), elements=VALUES)))
    query = torch.from_numpy(data.draw(hnp.arrays(np.float64, (dimension,), elements=VALUES)))
    before, after = rows @ query, center(rows) @ query
    # Every row loses the same constant: all differences stay, so the order does.
    torch.testing.assert_close(
        after[:, None] - after[None, :], before[:, None] - before[None, :], rtol=0, atol=1e-8
    )
    torch.testing.assert_close(before - after, (query @ rows.mean(0)).expand(size).clone(), rtol=0, atol=1e-8)


def test_centred_rows_have_mean_zero() -> None:
    rows = torch.tensor([[1.0, 10.0], [3.0, 20.0], [5.0, 60.0]])
    assert center(rows).tolist() == [[-2.0, -20.0], [0.0, -10.0], [2.0, 30.0]]


def test_centring_leaves_its_argument_alone() -> None:
    rows = torch.tensor([[1.0, 10.0], [3.0, 20.0]])
    before = rows.clone()
    center(rows)
    assert torch.equal(rows, before)


def test_centring_spreads_the_angles_of_rows_with_a_common_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 16, generator=generator, dtype=torch.float64) + 5

    def mean_cosine(values: torch.Tensor) -> float:
        unit = torch.nn.functional.normalize(values)
        return float((unit @ unit.T).mean())

    assert mean_cosine(rows) > 0.9
    assert abs(mean_cosine(center(rows))) < 0.02
