"""Laws 6 and 12 where planes are made: below the tail, through it at the points, and right in the mean."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated.tail import TailSum
from hashfed.models import Targets, WorkSpace, output_gradients
from hashfed.retrieval import Selection, planes
from hashfed.retrieval.evidence import mass_candidates
from hashfed.retrieval.planes import Planes, Tail, make_planes, tail_points

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Example:
    """Rows, points, and a selection whose rows are certain (log_weight 0) or drawn."""

    rows: torch.Tensor
    points: torch.Tensor
    selection: Selection

    @classmethod
    def of(cls, seed: int, size: int, count: int, scale: float = 1.0) -> "Example":
        rng = np.random.default_rng(seed)
        rows = torch.from_numpy(rng.normal(0, scale, (size, 4)).astype(np.float32))
        points = torch.from_numpy(rng.normal(0, 1, (count, 4)).astype(np.float32))
        held = np.flatnonzero(rng.random(size) < 0.5)
        chances = np.where(rng.random(len(held)) < 0.4, 1.0, rng.uniform(0.05, 0.9, len(held)))
        return cls(rows, points, Selection(held, (-np.log(chances)).astype(np.float32)))

    def tail(self) -> torch.Tensor:
        """The rows T in float64."""
        certain = self.selection.ids[self.selection.log_weight == 0]
        return self.rows.double()[np.setdiff1d(np.arange(len(self.rows)), certain)]

    def drawn(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The drawn rows and −log π, float64."""
        chosen = self.selection.log_weight != 0
        weight = torch.from_numpy(self.selection.log_weight[chosen]).double()
        return self.rows.double()[self.selection.ids[chosen]], weight

    def moved(self, tail: Tail) -> torch.Tensor:
        """factor · π̂ of every row at every point, (n, K) float64."""
        points, certain = self.points.double(), self.selection.log_weight == 0
        factors = torch.ones(len(self.rows), dtype=torch.float64)
        factors[self.selection.ids] = tail.factors.double()
        log_sums = torch.logsumexp(points @ self.tail().T, 1)
        moved = torch.exp(self.rows.double() @ points.T - log_sums) * factors[:, None]
        moved[self.selection.ids[certain]] = 0
        return moved

    def made(self, precision: torch.dtype = torch.float32, gram: bool = False) -> tuple[Planes, Tail]:
        found = make_planes(self.rows, self.points, self.selection, precision, gram)
        assert found is not None
        return found


def wide(found: Planes) -> tuple[torch.Tensor, ...]:
    """Its numbers in float64."""
    return tuple(value.double() for value in found.tensors())


examples = st.builds(
    Example.of, st.integers(0, 10**6), st.integers(3, 40), st.integers(1, 6), st.sampled_from([0.1, 1.0, 3.0])
).filter(lambda example: len(example.tail()) > 0)


@given(examples)
def test_a_plane_is_below_the_tail_and_meets_it_at_its_point(example: Example) -> None:
    found, tail = example.made()
    offsets, slopes, _, _ = wide(found)
    rows, points = example.tail(), example.points.double()
    queries = torch.cat([points, points * 1.5, -points, torch.randn(50, 4, dtype=torch.float64) * 3])
    values = queries @ slopes.T + offsets
    truth = torch.logsumexp(queries @ rows.T, 1)
    tolerance = 1e-5 * (1 + values.abs())
    assert bool((values <= truth[:, None] + tolerance).all())
    at_points = torch.diagonal(points @ slopes.T + offsets)
    exact = torch.logsumexp(points @ rows.T, 1)
    torch.testing.assert_close(at_points, exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tail.log_sums.double(), exact, rtol=1e-5, atol=1e-5)


@given(examples, st.sampled_from(PRECISIONS))
def test_rounded_slopes_still_pass_through_the_points(example: Example, precision: torch.dtype) -> None:
    found, tail = example.made(precision)
    assert {found.slopes.dtype, found.error_slopes.dtype} == {precision}
    assert {found.offsets.dtype, found.errors.dtype} == {torch.float32}
    offsets, slopes, errors, error_slopes = wide(found)
    points, (drawn, weight) = example.points.double(), example.drawn()
    rows = example.tail()
    log_sums = torch.logsumexp(points @ rows.T, 1)
    at_points = offsets + (points * slopes).sum(1)
    torch.testing.assert_close(at_points, log_sums, rtol=1e-5, atol=2e-5)
    shares = torch.exp(drawn @ points.T - log_sums + weight[:, None])
    size = shares.sum(0).abs() + 1
    kappa = errors - (points * error_slopes).sum(1)
    assert bool(((kappa - (1 - shares.sum(0))).abs() <= 3e-5 * size).all())
    # Slopes that are not rounded are those of the definitions.
    if precision == torch.float32:
        mu = torch.exp(points @ rows.T - log_sums[:, None]) @ rows
        nu = shares.T @ drawn - shares.sum(0)[:, None] * mu
        torch.testing.assert_close(slopes, mu, rtol=1e-4, atol=1e-4)
        assert bool(((error_slopes - nu).abs() <= 1e-4 * size[:, None]).all())
    # By how much each row of the selection is moved.
    expected = np.where(
        example.selection.log_weight == 0, 0, 1 - np.exp(example.selection.log_weight.astype(np.float64))
    )
    np.testing.assert_allclose(tail.factors.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(tail.ids, example.selection.ids)


@given(examples)
def test_no_row_is_moved_by_more_than_the_reach(example: Example) -> None:
    _, tail = example.made()
    moved = example.moved(tail)
    assert bool((moved.abs().amax(0) <= tail.reach.double() * (1 + 1e-4)).all())


@given(examples, st.sampled_from([1.0, 12.0, 40.0]))
def test_what_an_update_s_norm_needs(example: Example, scale: float) -> None:
    """Also at points where squares of exponentials do not fit in a float32."""
    example = Example(example.rows, example.points * scale, example.selection)
    _, tail = example.made(gram=True)
    assert tail.gram is not None
    assert tail.drawn is not None
    moved = example.moved(tail)
    tolerance = 1e-4 * scale
    size = 1 + moved.abs().amax(0)
    gap = (tail.gram.double() - moved.T @ moved).abs() / (size[:, None] * size)
    assert bool((gap <= tolerance * len(example.rows)).all())
    assert bool(((tail.drawn.double() - moved[example.selection.ids]).abs() <= tolerance * size).all())


def test_planes_by_hand() -> None:
    """Two rows of the tail, one of them drawn with chance a half; the third row is certain."""
    rows = torch.tensor([[math.log(2.0)], [math.log(3.0)], [5.0]])
    selection = Selection(np.array([1, 2]), np.array([math.log(2.0), 0.0], np.float32))
    found = make_planes(rows, torch.ones(1, 1), selection)
    assert found is not None
    made, tail = found
    # A = log(2 + 3), π̂ = (2, 3)/5, κ = 1 − 2·3/5.
    mu = 0.4 * math.log(2) + 0.6 * math.log(3)
    nu = 1.2 * (math.log(3) - mu)
    assert made.slopes.item() == pytest.approx(mu)
    assert made.offsets.item() == pytest.approx(math.log(5) - mu)
    assert made.error_slopes.item() == pytest.approx(nu, abs=1e-6)
    assert made.errors.item() == pytest.approx(-0.2 + nu, abs=1e-6)
    assert tail.factors.tolist() == [pytest.approx(-1), 0]
    assert tail.reach.tolist() == [pytest.approx(1.2)]


def subsets(
    certain: list[int], size: int, chances: dict[frozenset[int], float]
) -> Iterator[tuple[float, Selection]]:
    """Every selection of a design that draws whole sets of rows, with its chance."""
    inclusion = {row: sum(p for rows, p in chances.items() if row in rows) for row in range(size)}
    for drawn, chance in chances.items():
        ids = np.array(sorted({*certain, *drawn}), np.int64)
        weight = [0.0 if row in certain else -math.log(inclusion[row]) for row in ids]
        yield chance, Selection(ids, np.array(weight, np.float32))


def uniform(size: int, certain: list[int], count: int) -> dict[frozenset[int], float]:
    """All subsets of ``count`` others, alike."""
    others = [row for row in range(size) if row not in certain]
    found = [frozenset(rows) for rows in itertools.combinations(others, count)]
    return dict.fromkeys(found, 1 / len(found))


def uneven(size: int, certain: list[int], count: int) -> dict[frozenset[int], float]:
    """The same with chances that differ, so that rows depend on each other."""
    found = uniform(size, certain, count)
    weights = np.random.default_rng(size).uniform(0.2, 2, len(found))
    return dict(zip(found, (weights / weights.sum()).tolist(), strict=True))


DESIGNS = [
    (design, size, certain, count)
    for design in (uniform, uneven)
    for size, certain, count in ((5, [1], 2), (6, [], 3), (7, [0, 4], 2), (6, [2], 4), (6, [5], 1))
]


@pytest.mark.parametrize(("design", "size", "certain", "count"), DESIGNS)
def test_over_all_draws_every_mean_is_exact(design, size, certain, count) -> None:  # type: ignore[no-untyped-def]
    """Z, κ, ν, and with Z held fixed the move of every row and the queries' gradient of Z."""
    example = Example.of(size, size, 2)
    rows, points = example.rows.double(), example.points
    queries = torch.cat([points, torch.randn(4, 4, generator=torch.Generator().manual_seed(size))]).double()
    exponentials = torch.exp(queries @ rows.T)
    fixed_z = exponentials.sum(1)
    total_chance = 0.0
    z = torch.zeros(len(queries), dtype=torch.float64)
    z_slope, moves = torch.zeros_like(queries), torch.zeros_like(rows)
    kappas, nus = torch.zeros(2, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    index = torch.empty(0)
    for chance, selection in subsets(certain, size, design(size, certain, count)):
        found = make_planes(example.rows, points, selection)
        assert found is not None
        made, tail = found
        offsets, slopes, errors, error_slopes = wide(made)
        value, index = (queries @ slopes.T + offsets).max(1)
        power = torch.exp(value)
        factor = errors[index] - (queries * error_slopes[index]).sum(1)
        held, weight = rows[selection.ids], torch.from_numpy(selection.log_weight).double()
        weighted = torch.exp(queries @ held.T + weight)
        z += chance * (weighted.sum(1) + power * factor)
        z_slope += chance * (
            weighted @ held + power[:, None] * (slopes[index] * factor[:, None] - error_slopes[index])
        )
        kappas += chance * (errors - (points.double() * error_slopes).sum(1))
        nus += chance * error_slopes
        # What the client returns for a fixed Z: of the rows that it holds, and of each plane.
        moves[selection.ids] += chance * (weighted / fixed_z[:, None]).T @ queries
        change = torch.zeros(2, 4, dtype=torch.float64).index_add_(
            0, index, queries * (power / fixed_z)[:, None]
        )
        sums = torch.zeros(size, 4)
        total = TailSum(example.rows, sums)
        total.add(tail, change.float(), 1.0)
        total.finish()
        moves += chance * sums.double()
        total_chance += chance
    assert total_chance == pytest.approx(1)
    torch.testing.assert_close(z, fixed_z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(z_slope, exponentials @ rows, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(kappas, torch.zeros_like(kappas), rtol=0, atol=1e-5)
    torch.testing.assert_close(nus, torch.zeros_like(nus), rtol=0, atol=1e-5)
    torch.testing.assert_close(moves, (exponentials / fixed_z[:, None]).T @ queries, rtol=1e-4, atol=1e-4)


@given(examples, st.integers(1, 20))
def test_at_its_points_the_layer_is_the_full_one_whatever_the_draw(example: Example, count: int) -> None:
    """Law 12 in one batch: loss, queries' gradient, and with the tail's change every row's."""
    example = hold(example, 0)
    if len(example.tail()) == 0:
        return
    made, tail = example.made()
    queries = example.points[torch.arange(count) % len(example.points)]
    targets = torch.zeros(count, dtype=torch.long)
    full = output_gradients(queries, example.rows, None, Targets(targets), WorkSpace())
    expected = torch.zeros_like(example.rows)
    full.add_to(expected, 1.0)
    weight = torch.from_numpy(example.selection.log_weight)
    held = example.rows[example.selection.ids]
    found = output_gradients(queries, held, weight, Targets(targets), WorkSpace(), made)
    assert found.bounded == 0
    assert found.tail is not None
    by_rows, sums = torch.zeros_like(held), torch.zeros_like(example.rows)
    found.add_to(by_rows, 1.0)
    sums[example.selection.ids] = by_rows * torch.exp(weight)[:, None]  # as ``client.train`` returns it
    total = TailSum(example.rows, sums)
    total.add(tail, found.tail, 1.0)
    total.finish()
    # Chances are at least 0.05: what a draw gets wrong and its correction are up to 20 times what they leave.
    torch.testing.assert_close(found.loss, full.loss, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.queries, full.queries, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(sums, expected, rtol=1e-3, atol=1e-4)


@given(examples.filter(lambda example: len(example.rows) > 8), st.booleans())
def test_planes_of_an_index_s_exponentials_are_the_same(example: Example, gram: bool) -> None:
    """Bit for bit those of a pass of their own; and not where they are of other rows or points."""
    found = mass_candidates(example.rows, example.points, np.ones(len(example.rows)), 1.0)
    assert found.powers is not None
    other = replace(found.powers, points=found.powers.points + 1, values=found.powers.values * math.nan)
    expected, rows = example.made(gram=gram), example.rows
    for powers in (other, replace(other, rows=rows.clone(), points=example.points), found.powers):
        made = make_planes(rows, example.points, example.selection, gram=gram, powers=powers)
        assert made is not None
        for one, two in zip(made[0].tensors(), expected[0].tensors(), strict=True):
            assert torch.equal(one, two)
        assert torch.equal(made[1].log_sums, expected[1].log_sums)


@given(examples)
def test_in_bfloat16_the_error_of_a_draw_still_has_mean_zero(example: Example) -> None:
    """It is made of the same exponentials as the sums: rows drawn with half a chance, and the others."""
    table = example.rows.bfloat16()
    size = len(example.rows)
    half = np.arange(size) % 2 == 0
    errors = []
    for drawn in (half, ~half):
        found = mass_candidates(example.rows, example.points, np.ones(size), 1.0, table=table)
        assert found.powers is not None
        assert found.powers.values.dtype == torch.bfloat16
        ids = np.flatnonzero(drawn)
        selection = Selection(ids, np.full(len(ids), math.log(2), np.float32))
        made = make_planes(example.rows, example.points, selection, powers=found.powers)
        assert made is not None
        kappa = made[0].errors - (example.points * made[0].error_slopes).sum(1)
        errors.append(kappa.double())
        exact = torch.logsumexp(example.points @ example.rows.T, 1)
        torch.testing.assert_close(made[1].log_sums, exact, rtol=0, atol=0.1)
    torch.testing.assert_close(errors[0] + errors[1], torch.zeros_like(errors[0]), rtol=0, atol=1e-4)


@given(examples, st.sampled_from([torch.float16, torch.bfloat16]))
def test_rounded_slopes_leave_the_slope_at_the_points_exact(example: Example, precision: torch.dtype) -> None:
    """What a rounded slope gets wrong, ν makes good: the gradient of the tail's sum is that of its rows."""
    found, _ = example.made(precision)
    made = Planes(*(value.float() for value in found.tensors()))
    rows, (drawn, weight) = example.tail(), example.drawn()
    for j, point in enumerate(example.points.double()):
        height = float(made.offsets[j] + point.float() @ made.slopes[j])
        factor = float(made.errors[j] - point.float() @ made.error_slopes[j])
        shares = torch.exp(drawn @ point + weight - height)
        slope = shares @ drawn + factor * made.slopes[j].double() - made.error_slopes[j].double()
        exact = torch.softmax(rows @ point, 0) @ rows
        # The rounding of ν itself remains.
        bound = 0.01 * (1 + float(made.error_slopes[j].abs().max()))
        torch.testing.assert_close(slope, exact, rtol=0, atol=bound)


def hold(example: Example, row: int) -> Example:
    """The same with ``row`` held for certain."""
    chosen = dict(zip(example.selection.ids.tolist(), example.selection.log_weight.tolist(), strict=True))
    chosen[row] = 0.0
    ids = sorted(chosen)
    weight = np.array([chosen[item] for item in ids], np.float32)
    return Example(example.rows, example.points, Selection(np.array(ids), weight))


@given(st.integers(0, 10**6), st.sampled_from([1.0, 30.0]), st.sampled_from([1, 300, 600]))
def test_tiles_and_large_logits_change_nothing(seed: int, scale: float, tile: int) -> None:
    """Sums of exponentials beyond float32 are shifted; rows come in parts of at least 256."""
    example = Example.of(seed, 700, 3)
    example = Example(example.rows, example.points * scale, example.selection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "TILE_LOGITS", tile)
        made, _ = example.made()
    points, rows = example.points.double(), example.tail()
    log_sums = torch.logsumexp(points @ rows.T, 1)
    mu = torch.exp(points @ rows.T - log_sums[:, None]) @ rows
    offsets, slopes, _, _ = wide(made)
    torch.testing.assert_close(slopes, mu, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(offsets + (points * slopes).sum(1), log_sums, rtol=1e-5, atol=1e-4)


def test_there_are_no_planes_without_a_tail_or_a_point() -> None:
    rows = torch.ones(3, 2)
    nothing = Selection(np.empty(0, np.int64), np.empty(0, np.float32))
    assert make_planes(rows, torch.ones(1, 2), Selection.all(3)) is None
    assert make_planes(rows, torch.empty(0, 2), nothing) is None
    # Nothing is held: the tail is everything, and the error of no draw is all of it.
    made = make_planes(rows, torch.zeros(1, 2), nothing)
    assert made is not None
    assert made[0].errors.tolist() == [1]
    assert made[0].offsets.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -1e16])
def test_absurd_points_are_refused(value: float) -> None:
    """What came back for their planes would ruin every row of the tail."""
    points = torch.zeros(2, 2)
    points[1, 0] = value
    selection = Selection(np.array([0]), np.zeros(1, np.float32))
    with pytest.raises(HashfedError, match="queries are not finite, or absurdly large"):
        make_planes(torch.ones(3, 2), points, selection)


def test_slopes_beyond_float16_stay_finite() -> None:
    """A row that was drawn by a chance of one in a million."""
    rows = torch.tensor([[3.0], [-3.0]])
    selection = Selection(np.array([0]), np.array([math.log(1e6)], np.float32))
    found = make_planes(rows, torch.zeros(1, 1), selection, torch.float16)
    assert found is not None
    for value in found[0].tensors():
        assert bool(torch.isfinite(value).all())


def test_more_vectors_than_points_are_merged_by_their_weight() -> None:
    near, far = torch.zeros(5, 2), torch.full((3, 2), 9.0)
    queries = torch.cat([near, far])
    assert tail_points(queries, None, 8, 0) is queries
    counts = np.array([1, 1, 1, 1, 1, 1000, 1000, 1000], np.int32)
    found = tail_points(queries, counts, 2, 0)
    assert 1 <= len(found) <= 2
    mean = tail_points(queries, counts, 1, 0)
    assert mean.shape == (1, 2)
    assert mean[0, 0].item() == pytest.approx(9 * 3000 / 3005, rel=1e-4)
