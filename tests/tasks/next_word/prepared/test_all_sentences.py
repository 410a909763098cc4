"""What is evaluated on is found where it lies, in the order that sorting everything gives."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from hashfed.engines.evaluation import held_out_examples
from hashfed.tasks.federated_data import blocks
from hashfed.tasks.next_word.clients import build_federated_text
from hashfed.tasks.next_word.prepared import all_sentences
from hashfed.tasks.next_word.prepared.load import load_prepared
from prepared_texts import data_settings, folder_settings, prepared, texts


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize("groups", [(None,), ("train", "test")], ids=["scattered", "neighbours"])
def test_the_order_is_that_of_sorting(
    block: int, groups: tuple[None] | tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_sentences, "BLOCK", block)
    clients = texts(60, groups=groups)  # type: ignore[arg-type]
    prepared(clients, data_settings(), tmp_path / "folder")
    found = load_prepared(folder_settings(tmp_path / "folder"), "test")
    expected = build_federated_text(clients, data_settings())
    for some, others in ((found.train, expected.train), (found.held_out, expected.held_out)):
        for most in (None, 20):
            one, other = held_out_examples(some, most, 0), held_out_examples(others, most, 0)
            assert len(one) == len(other)
            for start in range(0, len(other), 7):
                index = np.arange(start, min(start + 7, len(other)))
                for name, values in other.take(index).columns().items():
                    np.testing.assert_array_equal(one.take(index).columns()[name], values)


def test_neighbours_are_those_that_are_taken_one_by_one(tmp_path: Path) -> None:
    prepared(texts(60), data_settings(), tmp_path / "folder")
    found = load_prepared(folder_settings(tmp_path / "folder"), "test").held_out.all_examples()  # type: ignore[attr-defined]
    for start in range(len(found)):
        for stop in range(start + 1, len(found) + 1):
            np.testing.assert_array_equal(
                found.block(start, stop).index, found.take(np.arange(start, stop)).index
            )


@pytest.mark.parametrize("most", [1, 13, 40, 10**6])
def test_blocks_are_those_of_the_texts_in_memory(most: int, tmp_path: Path) -> None:
    """Sums over blocks are of real numbers, so they must be of the same examples."""
    clients = texts(60)
    prepared(clients, data_settings(), tmp_path / "folder")
    found = load_prepared(folder_settings(tmp_path / "folder"), "test")
    expected = build_federated_text(clients, data_settings())
    for some, others in ((found.train, expected.train), (found.held_out, expected.held_out)):
        for one, other in zip(blocks(some, most), blocks(others, most), strict=True):
            for name, values in other.columns().items():
                np.testing.assert_array_equal(one.columns()[name], values)


def test_what_goes_to_workers_does_not_grow_with_the_sentences(tmp_path: Path) -> None:
    sizes = []
    for times in (1, 50):
        clients = [type(one)(one.client, one.texts * times) for one in texts(60)]
        prepared(clients, data_settings(), tmp_path / str(times))
        held_out = load_prepared(folder_settings(tmp_path / str(times)), "test").held_out
        sizes.append(len(pickle.dumps(held_out_examples(held_out, None, 0))))
    assert sizes[1] <= sizes[0] + 10
