import numpy as np
import pytest

from hashfed.config import leaves, make_config, size_setting
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.next_word.vocabulary import OOV, SPECIAL, Vocabulary
from hashfed.tasks.registry import make_task
from hashfed.tasks.sequences import Sequences

CONFIG = make_config({"data": {"vocabulary": 30}})
TASK = make_task(CONFIG.data)


def test_the_setting_that_decides_the_number_of_rows() -> None:
    assert TASK.sizes[OUTPUT] == 30 + len(SPECIAL)
    larger = CONFIG.data.resized(50)
    assert make_task(larger).sizes[OUTPUT] == 50 + len(SPECIAL)
    changed = dict(leaves(CONFIG.model_copy(update={"data": larger})))
    assert {name for name, value in leaves(CONFIG) if changed[name] != value} == {size_setting(CONFIG)}


@pytest.mark.parametrize(
    ("examples", "length", "predictions"), [(3, 5, 15), (3, 5, 10), (4, 6, 4), (1, 1, 1)]
)
def test_imagined_examples(examples: int, length: int, predictions: int) -> None:
    found = TASK.imagine(examples, length, predictions)
    assert found.shape == (examples, length)
    assert found.weight == predictions
    assert found.weights.max() - found.weights.min() <= 1
    assert found.own(OUTPUT, INPUT).tolist() == [0, 1]


def test_examples_with_fewer_words() -> None:
    inputs, targets = np.array([[2, 9, 30]], np.int32), np.array([[9, 30, 3]], np.int32)
    found = TASK.within(Sequences(inputs, targets), 10).columns()
    assert found["inputs"].tolist() == [[2, 9, OOV]]
    assert found["targets"].tolist() == [[9, OOV, 3]]
    assert found["inputs"].dtype == found["targets"].dtype == np.int32


def test_names_of_rows_come_back() -> None:
    names = Vocabulary(("the", "é"))
    assert TASK.read_names(names.to_json()) == names
