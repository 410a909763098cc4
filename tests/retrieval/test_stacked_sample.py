"""Draws for many clients at once are those of each client by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hashfed.randomness import stream
from hashfed.retrieval.protocol import Candidates
from hashfed.retrieval.sample import inclusion_probabilities, sample
from hashfed.retrieval.stacked_sample import inclusion_probabilities_of, sample_many


def test_chances_of_a_small_case() -> None:
    """Scores 4, 1, 1 share two places besides the own row: the first is capped, the others get half each."""
    found = inclusion_probabilities_of([np.array([0])], torch.tensor([[9.0, 4, 1, 1, 0]]).double(), [3], 0.0)
    assert found.tolist() == [[1, 1, 0.5, 0.5, 0]]


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), tail=st.sampled_from([0.0, 0.1, 1.0]), corrected=st.booleans())
def test_each_client_is_drawn_as_by_itself(seed: int, tail: float, corrected: bool) -> None:
    rng = np.random.default_rng(seed)
    clients, size = int(rng.integers(1, 6)), int(rng.integers(2, 150))
    scores = np.where(
        rng.random((clients, size)) < rng.random(), rng.exponential(size=(clients, size)) ** 4, 0
    )
    own = [np.sort(rng.choice(size, int(rng.integers(0, size)), replace=False)) for _ in range(clients)]
    budgets = [int(rng.integers(1, size + 1)) for _ in range(clients)]
    found = sample_many(
        own,
        torch.from_numpy(scores.copy()),
        budgets,
        tail,
        corrected,
        [stream(seed, "select", 1, str(client)) for client in range(clients)],
    )
    for client, selection in enumerate(found):
        candidates = Candidates.positive(scores[client])
        expected = sample(
            own[client],
            candidates,
            size,
            budgets[client],
            tail,
            corrected,
            stream(seed, "select", 1, str(client)),
        )
        assert selection.ids.tolist() == expected.ids.tolist()
        assert selection.log_weight == pytest.approx(expected.log_weight, rel=1e-6, abs=1e-6)
        if budgets[client] < size:
            chances = inclusion_probabilities(own[client], candidates, size, budgets[client], tail)
            one = inclusion_probabilities_of(
                [own[client]], torch.from_numpy(scores[client : client + 1].copy()), [budgets[client]], tail
            )
            np.testing.assert_allclose(one[0].numpy(), chances, rtol=1e-9, atol=1e-15)
