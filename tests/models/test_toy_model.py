"""A model that no file of hashfed knows is chosen by name."""

from collections.abc import Iterator

import pytest

from hashfed.cli.main import main
from hashfed.config import load_config, make_config, size_settings
from hashfed.cost.variants import size_step, with_model
from hashfed.engines.budget import build_model, device_budget
from hashfed.errors import HashfedError
from hashfed.models import MODELS
from toy_model import Toy, ToySettings


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    MODELS["toy"] = ToySettings
    yield
    del MODELS["toy"]


def test_a_configuration_chooses_it_by_name() -> None:
    config = make_config({"model": {"name": "toy", "size": 4}, "selection": {"max_bytes": 4 * 4 * 10}})
    assert config.model == ToySettings(size=4)
    assert build_model(config) == Toy(4)
    assert device_budget(config, 1000) == 10
    assert (
        size_settings()
        == "data.vocabulary, data.labels, data.items, model.embedding, model.hidden, model.size"
    )
    assert load_config(None, {"model.name": "toy", "model.size": "4"}).model == config.model
    assert with_model(config, "size", 9).model == ToySettings(size=9)
    assert size_step(config, "size") == 1


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        (
            {"model": {"name": "other"}},
            "model.name = 'other': input should be 'transformer', 'bag', 'sasrec' or 'toy'",
        ),
        (
            {"model": {"name": "toy", "ffn": 8}},
            "model.ffn = 8: not a setting of model.name = toy (allowed: size)",
        ),
        ({"model": {"size": 8}}, "model.size = 8: not a setting of model.name = transformer (allowed: "),
        (
            {
                "model": {"name": "toy", "size": 7},
                "retrieval": {"method": "product-codes", "subspaces": 2},
            },
            "retrieval.subspaces = 2: must divide model.size = 7",
        ),
    ],
)
def test_a_mistake_is_one_line(tree: dict[str, object], problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        make_config(tree)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "One of: transformer, the paper's transformer; " in text
    assert "; toy, the sum of a set's rows [default transformer]" in text
    assert "--model.size SIZE d, width of rows. [default 6; ≥ 1] (toy)" in text
