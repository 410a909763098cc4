import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.clip import PART, clip_update, norm
from hashfed.federated.messages import Update


def an_update(body: list[float], rows: list[list[float]]) -> Update:
    ids = np.arange(len(rows), dtype=np.int32)
    return Update(1, 7, 1.5, {"b": torch.tensor(body)}, ids, torch.tensor(rows))


def test_body_and_rows_are_scaled_together_in_place() -> None:
    update = an_update([3.0, 0.0], [[0.0, 4.0], [0.0, 12.0]])  # 9 + 16 + 144 = 13²
    body, rows = update.body["b"], update.rows
    assert norm([body, rows]) == 13
    assert clip_update(update, 6.5)
    assert update.body["b"] is body
    assert update.rows is rows
    assert body.tolist() == [1.5, 0]
    assert rows.tolist() == [[0, 2], [0, 6]]
    assert (update.weight, update.loss) == (7, 1.5)


@pytest.mark.parametrize("largest", [13.0, 14.0])
def test_an_update_of_at_most_that_norm_stays(largest: float) -> None:
    update = an_update([3.0, 0.0], [[0.0, 4.0], [0.0, 12.0]])
    assert not clip_update(update, largest)
    assert update.body["b"].tolist() == [3, 0]
    assert update.rows.tolist() == [[0, 4], [0, 12]]


def test_nothing_and_zero_are_short() -> None:
    assert norm([]) == 0
    assert not clip_update(an_update([0.0], [[0.0]]), 1e-6)


def test_a_norm_beyond_float32_is_found() -> None:
    update = an_update([3e30], [[4e30]])
    assert clip_update(update, 5.0)
    assert update.body["b"].item() == pytest.approx(3)
    assert update.rows.item() == pytest.approx(4)


def test_a_norm_over_many_parts() -> None:
    count = 2 * PART + 1
    assert norm([torch.full((count,), 2.0), torch.ones(1, 3)]) == math.sqrt(4 * count + 3)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(0.01, 100))
def test_no_update_is_longer_afterwards_and_its_direction_stays(
    seed: int, size: float, largest: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    body, rows = (size * torch.randn(shape, generator=generator) for shape in ((5,), (4, 3)))
    update = Update(1, 1, 0.0, {"b": body.clone()}, None, rows.clone())
    before = norm([body, rows])
    assert clip_update(update, largest) == (before > largest)
    after = norm([update.body["b"], update.rows])
    assert after == pytest.approx(min(before, largest), rel=1e-6)
    torch.testing.assert_close(update.rows * (before / after), rows)
