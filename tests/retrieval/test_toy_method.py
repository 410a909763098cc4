"""A method that no file of hashfed knows, registered here, trains on one machine and over a network.

CONTRIBUTING.md shows it as the example of a new method.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field

from hashfed.cli.main import main
from hashfed.config import make_config
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.retrieval import METHODS, Candidates, Encoder, Index, Keys
from hashfed.retrieval.exact import ExactEncoder, check_queries
from hashfed.retrieval.method import IndexedSettings
from loopback import LoopbackGrid, partitions
from small import prepare, write_texts

# The method


@dataclass
class MeanIndex(Index):
    rows: torch.Tensor
    encoder: ExactEncoder
    power: float

    def lookup(self, keys: Keys) -> Candidates:
        mean = check_queries(keys, self.rows.shape[1]).mean(0)
        return Candidates.positive((self.rows @ mean).exp().pow(self.power).double().numpy())


class MeanSettings(IndexedSettings):
    """Rows near the mean of the client's queries."""

    method: Literal["mean"] = "mean"
    power: float = Field(1.0, gt=0, le=4)
    """Exponent of the scores."""

    encoder: ClassVar[type[Encoder]] = ExactEncoder

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> MeanIndex:
        return MeanIndex(rows, ExactEncoder(), self.power)


# Its tests


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    METHODS["mean"] = MeanSettings
    yield
    del METHODS["mean"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.jsonl")


def test_it_trains_the_same_on_one_machine_and_over_a_network(texts: Path) -> None:
    app = pytest.importorskip("hashfed.engines.flower.client_app").app
    server = pytest.importorskip("hashfed.engines.flower.server")
    config, data = prepare(texts)
    config = config.model_copy(update={"retrieval": MeanSettings(power=2), "rounds": 2})
    with Simulation(config, data) as here:
        expected = [here.run_round() for _ in range(2)]
    with server.FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data) as there:
        found = [there.run_round() for _ in range(2)]
    for one, other in zip(expected, found, strict=True):
        assert 0 < one.loss == other.loss
        assert [report.bytes for report in one.reports] == [report.bytes for report in other.reports]
        assert all(report.bytes["keys"] > 0 for report in one.reports)
    for name, value in here.state.parameters.named().items():
        assert torch.equal(value, there.state.parameters.named()[name])


def test_its_settings_are_known_to_yaml_and_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_config({"retrieval": {"method": "mean", "power": 3}}).retrieval == MeanSettings(power=3)
    with pytest.raises(HashfedError, match=r"bits = 3: not a setting of retrieval\.method = mean"):
        make_config({"retrieval": {"method": "mean", "bits": 3}})
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "mean, rows near the mean of the client's queries" in text
    assert "Exponent of the scores. [default 1.0; > 0 and ≤ 4] (mean)" in text
