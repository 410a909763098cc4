import importlib.util
import json
import math

import numpy as np
import pytest

from hashfed.data import read_texts
from hashfed.data.tokenizer import TokenizerName
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.clients import build_federated_text, label_counts
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.sentences import encode_sentences
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary


def tiny(train: list[str], held_out: list[str]) -> FederatedData[Vocabulary]:
    """Sequences of at most 3 one-letter words; a and b have a row (4 and 5)."""
    vocabulary = Vocabulary(("a", "b"))

    def client(name: str, sentences: list[str]) -> Client:
        return Client(name, encode_sentences([sentence.split() for sentence in sentences], vocabulary, 3))

    # Each half of the training sentences is a client of its own: their counts must add up.
    clients = (client("one", train[::2]), client("two", train[1::2]))
    return FederatedData(vocabulary, clients, (client("test", held_out),), label_counts(clients, 6))


def test_a_hand_computed_example() -> None:
    floors = measure_floors(tiny(["a b", "a b", "a a"], ["b z", "a b", "z a", "b b"]))
    # Targets in training: a 4, b 2, EOS 3; and 0.1 for each of the 6 rows.
    a, b = 4.1 / 9.6, 2.1 / 9.6
    # Successors in training: BOS a a a; a b b a EOS; b EOS EOS.
    # Held-out words after what comes before them; z is out of vocabulary.
    chances = {
        "b after BOS (1)": 0.75 * 1 / 3 * b,
        "a after BOS": (3 - 0.75) / 3 + 0.75 * 1 / 3 * a,
        "b after a": (2 - 0.75) / 4 + 0.75 * 3 / 4 * b,
        "a after OOV, never seen in training": a,
        "b after BOS (2)": 0.75 * 1 / 3 * b,
        "b after b, which no word follows in training": 0.75 * 1 / 2 * b,
    }
    assert floors.targets == 6
    assert floors.oov_rate == pytest.approx(2 / 8)
    assert floors.unigram_accuracy == pytest.approx(2 / 6)
    assert floors.unigram_nll == pytest.approx(-(2 * math.log(a) + 4 * math.log(b)) / 6)
    # Right: a after BOS, b after a, and a after OOV, where the most frequent word is the best guess.
    assert floors.bigram_accuracy == pytest.approx(3 / 6)
    assert floors.bigram_nll == pytest.approx(-sum(map(math.log, chances.values())) / 6)


def test_special_symbols_are_neither_predicted_nor_scored() -> None:
    # EOS and OOV are the most frequent targets, also after a; the floors still predict words.
    floors = measure_floors(tiny(["a", "a", "z z", "z a", "b b a"], ["b", "a"]))
    assert floors.targets == 2
    assert floors.oov_rate == 0
    assert floors.unigram_accuracy == pytest.approx(1 / 2)
    assert floors.bigram_accuracy == pytest.approx(1 / 2)


def test_training_text_is_predicted_better_by_bigrams() -> None:
    text = ["a b a", "a b a", "a b a"]
    floors = measure_floors(tiny(text, text))
    assert floors.bigram_accuracy == 1
    assert floors.unigram_accuracy == pytest.approx(2 / 3)
    assert floors.bigram_nll < floors.unigram_nll


def test_bigram_chances_sum_to_one_over_the_rows() -> None:
    data = tiny(["a b", "a a", "a z", "b a"], ["a a", "a b"])
    unigram = (data.label_counts + 0.1) / (data.label_counts + 0.1).sum()
    # After a come a, b and OOV once and EOS twice; the row of PAD and of BOS only have the smoothing.
    counts = np.array([0, 1, 0, 2, 1, 1])
    after_a = np.maximum(counts - 0.75, 0) / 5 + 0.75 * 4 / 5 * unigram
    assert after_a.sum() == pytest.approx(1)
    # After BOS come a three times and b once. Held out are a after BOS twice, a after a, and b after a.
    a_after_bos = (3 - 0.75) / 4 + 0.75 * 2 / 4 * unigram[4]
    expected = -(2 * math.log(a_after_bos) + math.log(after_a[4]) + math.log(after_a[5])) / 4
    assert measure_floors(data).bigram_nll == pytest.approx(expected)


def test_floors_become_json() -> None:
    floors = measure_floors(tiny(["a b", "a b"], ["a b"]))
    assert json.loads(json.dumps(floors.to_dict())) == {
        "unigram_accuracy": floors.unigram_accuracy,
        "unigram_nll": floors.unigram_nll,
        "bigram_accuracy": floors.bigram_accuracy,
        "bigram_nll": floors.bigram_nll,
        "targets": 2,
        "oov_rate": 0,
    }


@pytest.mark.skipif(
    importlib.util.find_spec("chitchat_dataset") is None, reason="needs the package chitchat-dataset"
)
@pytest.mark.parametrize(("tokenizer", "targets"), [("ascii", 205_937), ("unicode", 206_006)])
def test_floors_of_chitchat(tokenizer: TokenizerName, targets: int) -> None:
    data = build_federated_text(
        read_texts("chitchat"), NextWordSettings(long_texts="split", tokenizer=tokenizer)
    )
    floors = measure_floors(data)
    assert floors.targets == targets
    assert floors.oov_rate == pytest.approx(0.031, abs=0.002)
    assert floors.unigram_accuracy == pytest.approx(0.050, abs=0.002)
    assert floors.bigram_accuracy == pytest.approx(0.158, abs=0.002)
    assert floors.bigram_nll < floors.unigram_nll < math.log(data.size)
