from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashfed.errors import HashfedError
from hashfed.hashing import fit_transform
from hashfed.hashing.transforms import (
    APPENDED,
    RANGED,
    Center,
    SignALSH,
    SimpleLSH,
    TransformKind,
    Whiten,
    row_norms,
)

KINDS: tuple[TransformKind, ...] = get_args(TransformKind)
VALUES = st.floats(-100, 100).map(lambda value: round(value, 3))


@st.composite
def problems(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (n, d) and a query (1, d), float64."""
    size, dimension = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    rows = draw(hnp.arrays(np.float64, (size, dimension), elements=VALUES))
    query = draw(hnp.arrays(np.float64, (1, dimension), elements=VALUES))
    return torch.from_numpy(rows), torch.from_numpy(query)


def products(kind: TransformKind, rows: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Inner products after the transform."""
    transform = fit_transform(kind, rows)
    return (transform.rows(rows) @ transform.queries(query).T)[:, 0]


@given(problems(), st.sampled_from(["none", "center", "whiten"]))
def test_differences_of_inner_products_are_kept(
    problem: tuple[torch.Tensor, torch.Tensor], kind: TransformKind
) -> None:
    rows, query = problem
    before, after = (rows @ query.T)[:, 0], products(kind, rows, query)
    scale = float(rows.abs().max() * query.abs().sum()) + 1e-9
    # Every row loses the same constant. The root of whitening travels as float32.
    tolerance = 1e-4 if kind == "whiten" else 1e-9
    torch.testing.assert_close(
        after[:, None] - after, before[:, None] - before, rtol=0, atol=tolerance * scale
    )


@given(problems())
def test_simple_lsh_makes_the_cosine_proportional_to_the_inner_product(
    problem: tuple[torch.Tensor, torch.Tensor],
) -> None:
    rows, query = problem
    transform = fit_transform("simple-lsh", rows)
    after = transform.rows(rows)
    torch.testing.assert_close(after.square().sum(1), torch.ones(len(rows), dtype=torch.float64))
    largest = float(row_norms(rows).max()) or 1.0
    found = (after @ transform.queries(query).T)[:, 0] * largest
    torch.testing.assert_close(found, (rows @ query.T)[:, 0], rtol=1e-9, atol=1e-7)


@given(problems())
def test_sign_alsh_keeps_inner_products_and_almost_equal_norms(
    problem: tuple[torch.Tensor, torch.Tensor],
) -> None:
    rows, query = problem
    transform = fit_transform("sign-alsh", rows)
    after, asked = transform.rows(rows), transform.queries(query)
    largest = float(row_norms(rows).max()) or 1.0
    length = float(query.norm()) or 1.0
    torch.testing.assert_close(
        (after @ asked.T)[:, 0] * largest * length / 0.75, (rows @ query.T)[:, 0], rtol=1e-9, atol=1e-7
    )
    # The two appended coordinates telescope: ‖P(x)‖² = m/4 + ‖x‖^(2^(m + 1)).
    scaled = torch.from_numpy(row_norms(rows)) * 0.75 / largest
    torch.testing.assert_close(after.square().sum(1), 0.5 + scaled**8)
    # So a cosine can be out of order only where the products differ by less than this factor.
    cosines = (after @ asked.T)[:, 0] / after.norm(dim=1)
    inner = (rows @ query.T)[:, 0]
    clearly = inner[:, None] > inner.clamp(min=0) * (1 + 2 * 0.75**8) ** 0.5 + 1e-6
    assert (cosines[:, None] > cosines)[clearly].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zeros", [1, 5, 8])
def test_zero_rows_and_zero_queries_are_fine(kind: TransformKind, zeros: int) -> None:
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    rows[:zeros] = 0
    transform = fit_transform(kind, rows)
    found = transform.rows(rows)
    assert found.shape == (8, transform.dimension(3)) == (8, 3 + APPENDED[kind])
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    asked = transform.queries(torch.zeros(2, 3))
    assert asked.shape == (2, 3 + APPENDED[kind])
    assert not asked.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_transform_leaves_its_arguments_alone_and_treats_rows_one_by_one(kind: TransformKind) -> None:
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    before = rows.clone()
    transform = fit_transform(kind, rows)
    whole = transform.rows(rows)
    transform.queries(rows)
    assert torch.equal(rows, before)
    for part in (slice(0, 1), slice(3, 20), slice(49, 50)):
        assert torch.equal(transform.rows(rows[part]), whole[part])


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_receives_the_map_of_queries(kind: TransformKind) -> None:
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    client = fit_transform(kind, rows).client
    assert client.kind == kind
    assert (client.matrix is not None) == (kind == "whiten")


def test_centred_rows_have_mean_zero() -> None:
    rows = torch.tensor([[1.0, 10.0], [3.0, 20.0], [5.0, 60.0]])
    transform = fit_transform("center", rows)
    assert isinstance(transform, Center)
    assert transform.rows(rows).tolist() == [[-2.0, -20.0], [0.0, -10.0], [2.0, 30.0]]


def test_centring_spreads_the_angles_of_rows_with_a_common_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 16, generator=generator, dtype=torch.float64) + 5

    def mean_cosine(values: torch.Tensor) -> float:
        unit = torch.nn.functional.normalize(values)
        return float((unit @ unit.T).mean())

    assert mean_cosine(rows) > 0.9
    assert abs(mean_cosine(fit_transform("center", rows).rows(rows))) < 0.02


def test_whitened_rows_vary_equally_in_all_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 4, generator=generator) * torch.tensor([1.0, 2.0, 4.0, 8.0]) + 3
    transform = fit_transform("whiten", rows)
    assert isinstance(transform, Whiten)
    covariance = torch.cov(transform.rows(rows).T)
    torch.testing.assert_close(covariance, torch.eye(4), rtol=0, atol=0.03)


def test_simple_lsh_by_hand() -> None:
    transform = fit_transform("simple-lsh", torch.tensor([[3.0, 4.0], [0.0, 3.0], [0.0, 0.0]]))
    found = transform.rows(torch.tensor([[3.0, 4.0], [0.0, 3.0], [0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8], [0.0, 0.0, 1.0]]))
    assert transform.queries(torch.tensor([[2.0, 5.0]])).tolist() == [[2.0, 5.0, 0.0]]


@pytest.mark.parametrize("kind", RANGED)
def test_a_row_that_has_outgrown_the_fit_is_shortened(kind: TransformKind) -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 3.0]])
    transform = fit_transform(kind, rows)
    torch.testing.assert_close(transform.rows(10 * rows[:1]), transform.rows(rows[:1]))


def test_norm_ranges_are_equal_parts_each_scaled_by_its_largest_norm() -> None:
    norms = torch.tensor([6.0, 1.0, 4.0, 3.0, 2.0, 5.0])
    rows = torch.stack([norms, torch.zeros(6)], 1)
    transform = fit_transform("simple-lsh", rows, ranges=3)
    assert isinstance(transform, SimpleLSH)
    assert transform.limits.tolist() == [2, 4, 6]
    assert transform.ranges(rows).tolist() == [2, 0, 1, 1, 0, 2]
    expected = torch.tensor([1.0, 0.5, 1.0, 0.75, 1.0, 5 / 6])
    torch.testing.assert_close(transform.rows(rows)[:, 0], expected)


@pytest.mark.parametrize("kind", RANGED)
@pytest.mark.parametrize(("size", "ranges"), [(1, 64), (5, 8), (100, 7)])
def test_any_number_of_ranges_covers_all_rows(kind: TransformKind, size: int, ranges: int) -> None:
    rows = torch.randn(size, 3, generator=torch.Generator().manual_seed(0))
    transform = fit_transform(kind, rows, ranges)
    assert isinstance(transform, SimpleLSH | SignALSH)
    norms, found = row_norms(rows), transform.ranges(rows)
    assert (norms <= transform.limits[found]).all()
    if size >= ranges:
        assert np.ptp(np.bincount(found, minlength=ranges)) <= 1


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(RANGED)))
def test_norm_ranges_of_other_transforms_are_refused(kind: TransformKind) -> None:
    with pytest.raises(HashfedError, match="norm_ranges = 2"):
        fit_transform(kind, torch.ones(2, 2), 2)
