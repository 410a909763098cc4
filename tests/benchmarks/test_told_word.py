import numpy as np
import pytest

from benchmarks.told_word import auc, guess, measure


def test_the_area_by_hand() -> None:
    which = np.array([0, 1, 0, 1])
    assert auc(np.array([0.0, 1.0, 0.5, 2.0]), which) == 1
    assert auc(np.array([0.0, 0.0, 0.0, 0.0]), which) == 0.5
    assert auc(np.array([1.0, 0.0, 3.0, 2.0]), which) == 0.25


def test_a_word_that_is_told_is_guessed_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    which = np.tile([0, 1], 400)
    noise = rng.normal(size=(800, 20))
    assert abs(guess(noise, which) - 0.5) < 0.1
    assert guess(np.column_stack([noise, which + rng.normal(0, 0.1, 800)]), which) > 0.99


def test_the_server_is_told_by_rows_and_by_sums_but_not_by_a_size() -> None:
    found = measure(pairs=80, seed=1)
    assert found["on-demand"] > 0.9
    assert found["secure, its sum"] > 0.7
    assert found["sizes of a kind, at most"] == 1


@pytest.mark.slow
def test_a_vector_under_masks_tells_nothing() -> None:
    """2,000 pairs: one in twenty runs is farther from a half than 0.018 by chance, one in 10^4 than 0.035."""
    found = measure(pairs=2000, seed=0)
    assert abs(found["secure"] - 0.5) < 0.035
    assert found["on-demand"] > 0.98
