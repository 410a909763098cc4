from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config
from hashfed.engines import index_keeper
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.index_keeper import IndexKeeper
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.local.workers import InProcess
from hashfed.errors import HashfedError
from hashfed.models import Parameters
from hashfed.retrieval import build_index, retrieval_settings
from hashfed.retrieval.simhash_collisions import SimHashCollisionsIndex
from hashfed.retrieval.simhash_union import SimHashUnionIndex
from hashfed.runs.train import round_metrics
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from small import fitting, small_config, small_data

SIZE, DIMENSION, SEED = 60, 5, 3


class Builds:
    """In place of ``build_index``: builds, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *arguments: Any) -> Any:
        self.count += 1
        return build_index(*arguments)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    counting = Builds()
    monkeypatch.setattr(index_keeper, "build_index", counting)
    return counting


class Server:
    """Rows that move, and notes of when."""

    def __init__(self, **settings: object) -> None:
        method = str(settings.pop("method", "simhash-union"))
        small = fitting(method, bits=3, tables=4, transform="none")
        self.settings = retrieval_settings(**{**small, **settings})
        self.rng = np.random.default_rng(0)
        self.rows = torch.from_numpy(self.rng.standard_normal((SIZE, DIMENSION), dtype=np.float32))
        self.prior = torch.ones(SIZE, dtype=torch.float64)
        self.changed = torch.zeros(SIZE, dtype=torch.int64)

    def keeper(self) -> IndexKeeper:
        return IndexKeeper(self.settings, SEED, self.rows, self.prior, self.changed)

    def move(self, round: int, count: int) -> None:
        """The end of a round."""
        ids = torch.from_numpy(self.rng.choice(SIZE, count, replace=False))
        self.rows[ids] += torch.from_numpy(self.rng.standard_normal((count, DIMENSION), dtype=np.float32))
        self.changed[ids] = round

    def assert_as_built(self, index: Any) -> None:
        """Bit for bit the index over the rows as they are."""
        assert isinstance(index, SimHashUnionIndex | SimHashCollisionsIndex)
        anew = build_index(self.rows, self.settings, self.prior.numpy(), SEED)
        assert type(anew) is type(index)
        for name in ("codes", "members", "starts"):
            np.testing.assert_array_equal(getattr(index.tables, name), getattr(anew.tables, name))
        if isinstance(index, SimHashCollisionsIndex) and isinstance(anew, SimHashCollisionsIndex):
            np.testing.assert_array_equal(index.weight, anew.weight)


@pytest.mark.parametrize("method", ["simhash-union", "simhash-collisions"])
@pytest.mark.parametrize("refresh", [1, 3])
def test_an_index_that_follows_is_the_one_built_anew(method: str, refresh: int, builds: Builds) -> None:
    server = Server(method=method)
    keeper = server.keeper()
    for built in range(1, 20, refresh):
        index = keeper.index(built, built)
        server.assert_as_built(index)
        for round in range(built, built + refresh):
            assert keeper.index(built, round) is index
            server.move(round, round % 5)
            server.prior += 1
    assert builds.count == 1


def test_an_index_after_a_resume_is_the_same(builds: Builds) -> None:
    server = Server()
    keeper = server.keeper()
    for round in range(1, 6):
        server.assert_as_built(keeper.index(round, round))
        server.move(round, 3)
    # After a resume nothing is noted of the rounds before.
    server.changed.zero_()
    resumed = server.keeper()
    for round in range(6, 10):
        server.assert_as_built(resumed.index(round, round))
        server.move(round, 3)
    assert builds.count == 2


def test_after_a_resume_between_two_refreshes_the_next_index_is_built_anew(builds: Builds) -> None:
    server = Server()
    # The rows as they were before round 4; rounds 4 and 5 were played, and moved others, before the resume.
    resumed = server.keeper()
    resumed.index(4, 6)
    server.move(4, 3)
    server.changed.zero_()
    server.move(6, 3)
    server.assert_as_built(resumed.index(7, 7))
    server.move(7, 3)
    server.assert_as_built(resumed.index(10, 10))
    assert builds.count == 2


def test_a_round_that_is_played_again_has_its_index(builds: Builds) -> None:
    server = Server()
    keeper = server.keeper()
    index = keeper.index(1, 1)
    assert keeper.index(1, 1) is index
    assert builds.count == 1


@pytest.mark.parametrize(("moved", "expected"), [(0, 1), (SIZE // 2, 1), (SIZE // 2 + 1, 2), (SIZE, 2)])
def test_where_most_rows_moved_the_index_is_built_anew(moved: int, expected: int, builds: Builds) -> None:
    server = Server()
    keeper = server.keeper()
    keeper.index(1, 1)
    server.move(1, moved)
    server.assert_as_built(keeper.index(2, 2))
    assert builds.count == expected


@pytest.mark.parametrize(
    "fitted", [{"transform": "center"}, {"transform": "simple-lsh"}, {"projections": "pca"}]
)
def test_what_is_fitted_to_the_rows_is_fitted_anew(fitted: dict[str, object], builds: Builds) -> None:
    server = Server(**fitted)
    keeper = server.keeper()
    for round in range(1, 4):
        server.assert_as_built(keeper.index(round, round))
        server.move(round, 2)
    assert builds.count == 3


def test_without_notes_or_in_an_earlier_round_the_index_is_built_anew(builds: Builds) -> None:
    server = Server()
    keeper = server.keeper()
    for built in (4, 2):
        server.assert_as_built(keeper.index(built, built))
        server.rows[7] += 1
    keeper.changed = None
    server.assert_as_built(keeper.index(5, 5))
    assert builds.count == 3


@pytest.mark.parametrize("method", ["query-centroids", "frequency", "random"])
def test_methods_without_tables_are_built_anew(method: str, builds: Builds) -> None:
    server = Server(method=method)
    keeper = server.keeper()
    for round in range(1, 4):
        keeper.index(round, round)
        server.move(round, 2)
    assert builds.count == 3


def test_counts_that_grow_are_those_of_the_refresh() -> None:
    server = Server(method="frequency")
    index = server.keeper().index(1, 1)
    server.prior += 5
    assert index.lookup({}).scores.tolist() == [1.0] * SIZE


def test_a_moved_row_that_is_not_finite_is_refused() -> None:
    server = Server()
    keeper = server.keeper()
    keeper.index(1, 1)
    server.rows[9, 1] = torch.nan
    server.changed[9] = 1
    with pytest.raises(HashfedError, match="row 9 is not finite"):
        keeper.index(2, 2)


def play(
    config: Config, data: FederatedData[Vocabulary], follow: bool, rounds: int = 6
) -> tuple[list[Any], Parameters]:
    """Metrics and parameters; with ``follow`` the rows that moved are noted for the workbench."""
    changed = torch.zeros(data.size, dtype=torch.int64) if follow else None
    with Simulation(config, data) as simulation:
        assert isinstance(simulation._executor, InProcess)
        simulation._executor._bench.changed = changed
        lines = []
        for number in range(1, rounds + 1):
            lines.append(round_metrics(simulation.run_round()))
            if changed is not None:
                optimizer = simulation.state.optimizer
                changed[torch.from_numpy(optimizer.touched["output"] == optimizer.steps)] = number
        return lines, simulation.state.parameters.clone()


def few_rows(texts: Path, refresh: int) -> Config:
    """A client a round, which holds few rows; only these move."""
    return small_config(
        texts,
        retrieval={"method": "simhash-union", "transform": "none", "refresh": refresh},
        selection={"budget": 0.15},
        client={"examples": 1},
        server={"row_moments": "lazy"},
        cohort=1,
    )


@pytest.mark.parametrize("refresh", [1, 2])
def test_a_simulation_with_an_index_that_follows_gives_the_same_numbers(
    refresh: int, texts: Path, builds: Builds
) -> None:
    config, data = few_rows(texts, refresh), small_data(texts)
    anew = play(config, data, follow=False)
    assert builds.count == 6 // refresh
    followed = play(config, data, follow=True)
    assert builds.count == 6 // refresh + 1
    assert followed[0] == anew[0]
    for name, value in anew[1].named().items():
        assert torch.equal(followed[1].named()[name], value)


@pytest.mark.parametrize("refresh", [1, 4])
def test_a_resumed_simulation_gives_the_same_numbers(refresh: int, texts: Path, tmp_path: Path) -> None:
    config, data = few_rows(texts, refresh), small_data(texts)
    expected = play(config, data, follow=False, rounds=14)
    with Simulation(config, data) as simulation:
        for _ in range(7):  # in the middle of the second period of 4
            simulation.run_round()
        save_checkpoint(tmp_path, simulation.state)
    with Simulation(config, data) as simulation:
        assert load_checkpoint(tmp_path, simulation.state)
        lines = [round_metrics(simulation.run_round()) for _ in range(7)]
        found = simulation.state.parameters
        assert lines == expected[0][7:]
        for name, value in expected[1].named().items():
            assert torch.equal(found.named()[name], value)


def test_workers_follow_too(texts: Path) -> None:
    data = small_data(texts)
    expected = play(few_rows(texts, 1), data, follow=False, rounds=5)
    config = few_rows(texts, 1).model_copy(update={"workers": 2})
    with Simulation(config, data) as simulation:
        assert [round_metrics(simulation.run_round()) for _ in range(5)] == expected[0]
