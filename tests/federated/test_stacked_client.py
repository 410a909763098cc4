"""The bodies of clients as one vector each."""

import torch

from hashfed.federated.stacked_client import Held, Places, StackedModel
from hashfed.models import Parameters


def test_parameters_lie_where_they_are_found_again() -> None:
    named = {"weight": torch.randn(3, 5), "bias": torch.randn(7), "scale": torch.randn(())}
    places = Places.of(named)
    flat = places.flat(named, torch.device("cpu"))
    assert len(flat) == places.size == 96
    stacked = torch.stack([flat, 2 * flat])
    found = places.views(stacked)
    for name, value in named.items():
        assert torch.equal(found[name], torch.stack([value, 2 * value]))
    found["bias"][1].zero_()
    assert not places.views(stacked[1])["bias"].any()


def test_a_model_without_a_body_is_stacked_too() -> None:
    stacked = StackedModel.of(Parameters({"output": torch.ones(2, 3)}, {}), [Held(None, None, {})] * 2, None)
    assert stacked.clone().body == {}
