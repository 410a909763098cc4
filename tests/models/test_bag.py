import numpy as np
import pytest
import torch

from hashfed.models import INPUT, OUTPUT
from hashfed.models.bag import Bag, BagSettings
from hashfed.randomness import stream
from small_labels import label_sets

DATA = label_sets(({1: 2.0, 4: -1.0}, [0]), ({}, [1, 2]), ({0: 0.5}, [2]))
SIZES = {INPUT: 5, OUTPUT: 3}
HERE = torch.device("cpu")


def test_a_hidden_layer_of_summed_rows() -> None:
    model = Bag(6)
    parameters = model.init(SIZES, stream(0, "test"))
    batch = DATA.bind({INPUT: None, OUTPUT: None}, HERE).batch(torch.arange(3))
    found = model.queries(parameters.body, parameters.tables, batch)
    rows, bias = parameters.tables[INPUT], parameters.body["bias"]
    expected = torch.stack([2 * rows[1] - rows[4] + bias, bias, 0.5 * rows[0] + bias]).relu()
    torch.testing.assert_close(found, expected)


def test_of_the_input_table_it_needs_what_the_data_touch() -> None:
    model = Bag(6)
    parameters = model.init(SIZES, stream(0, "test"))
    touched = DATA.own(INPUT)
    held = parameters.tables[INPUT][torch.from_numpy(touched)]
    batch = DATA.bind({INPUT: touched, OUTPUT: None}, HERE).batch(torch.tensor([2, 0]))
    found = model.queries(parameters.body, {INPUT: held, OUTPUT: parameters.rows}, batch)
    everything = DATA.bind({INPUT: None, OUTPUT: None}, HERE).batch(torch.tensor([2, 0]))
    assert torch.equal(found, model.queries(parameters.body, parameters.tables, everything))


def test_it_begins_as_slide_does() -> None:
    found = Bag(128).init({INPUT: 400, OUTPUT: 300}, stream(0, "test"))
    assert {name: value.shape for name, value in found.body.items()} == Bag(128).body_shapes()
    assert {name: tuple(table.shape) for name, table in found.tables.items()} == {
        OUTPUT: (300, 128),
        INPUT: (400, 128),
    }
    for table in found.tables.values():
        # Of 38,400 numbers and more, five standard deviations are 2% of their own.
        assert float(table.std()) == pytest.approx(0.01, rel=0.02)
    assert 0 < float(found.body["bias"].std()) < 0.02


def test_its_work_grows_with_features() -> None:
    assert Bag(8).body_flops(3, 3, 10) == 2 * 8 * (3 * 10 + 3)
    assert BagSettings(hidden=8).build() == Bag(8)
    assert np.prod(BagSettings().smallest().build().body_shapes()["bias"]) == 4
