"""Floors of data that are read in many blocks: the same numbers, in memory that is bounded."""

import tracemalloc

import numpy as np
import pytest

from hashfed.tasks.federated_data import Client, FederatedData, blocks
from hashfed.tasks.next_word import floors
from hashfed.tasks.next_word.clients import label_counts
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary
from hashfed.tasks.sequences import Sequences


def made(words: int, clients: int, sentences: int) -> FederatedData[Vocabulary]:
    rng, size = np.random.default_rng(0), words + len(SPECIAL)

    def client(number: int) -> Client:
        ids = (1 + (size - 1) * rng.random((sentences, 21)) ** 2).astype(np.int32)
        return Client(str(number), Sequences(ids[:, :-1].copy(), ids[:, 1:].copy()))

    train = [client(number) for number in range(clients)]
    names = Vocabulary(tuple(f"w{rank}" for rank in range(words)))
    return FederatedData(names, train, [client(-1), client(-2)], label_counts(train, size))


def small_blocks(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(blocks, "__defaults__", (most,))
    monkeypatch.setattr(floors, "BLOCK", most)
    monkeypatch.setattr(floors, "PAIRS", most)


@pytest.mark.parametrize("words", [30, 70_000])  # whose pairs have codes of 4 and 8 bytes
def test_many_blocks_give_the_numbers_of_one(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(words, 20, 15)
    expected = measure_floors(data).to_dict()
    small_blocks(monkeypatch, 40)
    assert measure_floors(data).to_dict() == pytest.approx(expected, rel=1e-12)


def test_memory_is_that_of_the_pairs_and_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(3000, 200, 150)
    small_blocks(monkeypatch, 1 << 15)
    tracemalloc.start()
    table = floors._Bigrams.of(data, 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.counts.sum() == 200 * 150 * 20
    # Codes and counts of 4 bytes, and some arrays of a block.
    assert peak < 10 * len(table.codes) + 100 * (1 << 15)
