import math

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.hashing import SimHash
from hashfed.hashing.projections import orthogonal_projections, principal_projections

Z = 5
"""Width of the confidence intervals: an honest sample leaves one about once in a million."""


@pytest.mark.parametrize(("count", "dimension"), [(1, 1), (3, 8), (8, 8), (20, 8), (5, 1)])
def test_orthogonal_within_blocks(count: int, dimension: int) -> None:
    found = orthogonal_projections(count, dimension, 3)
    assert found.shape == (count, dimension)
    for block in found.split(dimension):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)), rtol=0, atol=1e-6)
    assert torch.equal(found, orthogonal_projections(count, dimension, 3))
    if dimension > 1:
        assert not torch.equal(found, orthogonal_projections(count, dimension, 4))


def test_orthogonal_bits_differ_with_the_chance_of_the_angle_and_less_variance() -> None:
    angle = math.pi / 3
    pair = torch.zeros(2, 8)
    pair[0, 0], pair[1, 0], pair[1, 1] = 1, math.cos(angle), math.sin(angle)
    shares = {"random": np.empty(400), "orthogonal": np.empty(400)}
    for seed in range(400):
        for kind in ("random", "orthogonal"):
            codes = SimHash(1, 8, 8, seed, kind).hash(pair)
            shares[kind][seed] = (codes[0] != codes[1]).mean()
    margin = Z * shares["random"].std() / math.sqrt(400)
    assert abs(shares["orthogonal"].mean() - angle / math.pi) < margin
    assert shares["orthogonal"].std() < shares["random"].std()


def test_principal_projections_lie_in_the_leading_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([10.0, 9.0, 8.0, 0.1, 0.1])
    rows = torch.randn(300, 5, generator=generator) * scales + 7
    found = principal_projections(rows, count=20, least=2, seed=1)
    assert found.shape == (20, 5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20))
    assert float(found[:, 3:].abs().max()) < 0.01
    # At least 5 directions are all of them.
    assert float(principal_projections(rows, 20, least=5, seed=1)[:, 3:].abs().max()) > 0.1


def test_rows_without_variance_have_projections_too() -> None:
    found = principal_projections(torch.zeros(4, 3), count=6, least=2, seed=1)
    assert torch.isfinite(found).all()


def test_learned_projections_are_those_given() -> None:
    given = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert SimHash(2, 3, 4, 0, "pca", given).projections is given


@pytest.mark.parametrize(
    ("kind", "learned", "problem"),
    [
        ("pca", None, "projections of kind pca"),
        ("random", torch.zeros(6, 4), "projections of kind random"),
        ("pca", torch.zeros(6, 5), r"shape \(6, 5\): must be float32, \(6, 4\)"),
        ("pca", torch.zeros(6, 4, dtype=torch.float64), "type torch.float64"),
    ],
)
def test_learned_projections_that_do_not_fit_are_refused(
    kind: str, learned: torch.Tensor | None, problem: str
) -> None:
    with pytest.raises(HashfedError, match=problem):
        SimHash(2, 3, 4, 0, kind, learned)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["random", "orthogonal"])
@pytest.mark.parametrize("dimension", [1, 3, 96])
def test_codes_do_not_depend_on_the_other_vectors(kind: str, dimension: int) -> None:
    hash = SimHash(8, 16, dimension, 5, kind)  # type: ignore[arg-type]
    vectors = torch.randn(300, dimension, generator=torch.Generator().manual_seed(1))
    # Vectors nearly orthogonal to a projection: their signs are the ones that rounding could decide.
    first = hash.projections[:60] / hash.projections[:60].norm(dim=1, keepdim=True)
    vectors[:60] -= (vectors[:60] * first).sum(1, keepdim=True) * first
    whole = hash.hash(vectors)
    alone = np.concatenate([hash.hash(vectors[row : row + 1]) for row in range(300)])
    np.testing.assert_array_equal(alone, whole)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30])
def test_signs_of_tiny_and_huge_vectors_are_right(scale: float) -> None:
    hash = SimHash(4, 8, 6, 5)
    vectors = torch.randn(30, 6, generator=torch.Generator().manual_seed(1)) * scale
    exact = vectors.double() @ hash.projections.double().T > 0
    codes = hash.hash(vectors)
    for bit in range(4):
        np.testing.assert_array_equal(codes >> bit & 1, exact[:, bit * 8 : bit * 8 + 8].numpy())
