"""Exponentials of many clients at once."""

import numpy as np
import torch

from hashfed.retrieval.stacked_powers import StackedPowers


def test_a_client_that_holds_everything_has_no_tail_and_spoils_no_other_s() -> None:
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = torch.tensor([[0.5, 0.0], [0.0, 2.0]])
    powers = StackedPowers.of(table, [points[:1], points[1:]])
    assert powers is not None
    found = powers.moments([np.arange(3), np.array([0])], gram=True)
    assert found is not None
    tail = (points[1] @ table[1:].T).exp()
    torch.testing.assert_close(found.log_sums[1], tail.sum().log())
    torch.testing.assert_close(found.slopes[1], tail @ table[1:] / tail.sum())
    assert found.squares is not None
    torch.testing.assert_close(found.squares[1, 0, 0], (tail / tail.sum()).square().sum())
