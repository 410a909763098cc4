import hashlib
import unicodedata
from typing import Literal

import numpy as np
import pytest

from hashfed.data import ClientTexts, merge_clients
from hashfed.data.part import group_of
from hashfed.data.tokenizer import TokenizerName
from hashfed.errors import HashfedError
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.clients import build_federated_text, encode_client, label_counts
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import BOS, EOS, OOV, PAD, Vocabulary

TRAIN, VALIDATION, TEST = "bob", "carol", "alice"
"""One name of each group."""


def small(
    held_out: Literal["validation", "test"] = "test", given: Vocabulary | None = None, **changes: object
) -> FederatedData[Vocabulary]:
    """One client of each group."""
    clients = [
        ClientTexts(TEST, ["only here", "only here", "a c"]),
        ClientTexts(TRAIN, ["a b a", "b c d e f"]),
        ClientTexts(VALIDATION, ["a v"]),
    ]
    settings = NextWordSettings.model_validate({"vocabulary": 3, "sentence_length": 4} | changes)
    return build_federated_text(clients, settings, held_out, given)


def names(data: FederatedData[Vocabulary]) -> tuple[list[str], list[str]]:
    return [client.name for client in data.train], [client.name for client in data.held_out]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("alice", "test"),
        ("bob", "train"),
        ("carol", "validation"),
        ("dave", "train"),
        ("c0", "validation"),
        ("c1", "train"),
        ("c2", "train"),
    ],
)
def test_the_group_of_a_name_never_changes(name: str, group: str) -> None:
    assert group_of(name) == group


def test_groups_are_the_md5_of_the_name_modulo_five() -> None:
    counts = {"test": 0, "validation": 0, "train": 0}
    for number in range(1000):
        remainder = int.from_bytes(hashlib.md5(f"n{number}é".encode()).digest(), "big") % 5
        group = group_of(f"n{number}é")
        assert group == {0: "test", 1: "validation"}.get(remainder, "train")
        counts[group] += 1
    assert abs(counts["test"] - 200) < 70
    assert abs(counts["validation"] - 200) < 70


def test_test_clients_are_held_out() -> None:
    assert names(small()) == ([TRAIN, VALIDATION], [TEST])


def test_validation_leaves_test_clients_out_of_everything() -> None:
    assert names(small(held_out="validation")) == ([TRAIN], [VALIDATION])


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_the_vocabulary_is_that_of_all_but_the_test_clients(held_out: Literal["validation", "test"]) -> None:
    # a is there three times, b twice, then c, d, e, f and v once; "only" and "here" are test words.
    assert small(held_out=held_out).names.words == ("a", "b", "c")
    with pytest.raises(HashfedError, match=r"data\.vocabulary = 8: .* only 7 distinct words"):
        small(held_out=held_out, vocabulary=8)


def test_a_given_vocabulary_is_used() -> None:
    vocabulary = Vocabulary(("only",))
    data = small(given=vocabulary)
    assert data.names is vocabulary
    assert data.held_out[0].examples.columns()["targets"][0].tolist() == [4, OOV, EOS, PAD]


def test_a_client_s_texts_become_sentences() -> None:
    bob = small().train[0].examples
    assert bob.columns()["inputs"].tolist() == [[BOS, 4, 5, 4], [BOS, 5, 6, OOV]]
    assert bob.columns()["targets"].tolist() == [[4, 5, 4, EOS], [5, 6, OOV, OOV]]


def test_long_texts_are_split_where_asked() -> None:
    bob = small(long_texts="split").train[0].examples
    assert bob.columns()["targets"].tolist() == [[4, 5, 4, EOS], [5, 6, OOV, OOV], [OOV, EOS, PAD, PAD]]


def test_words_per_client_are_capped_before_the_vocabulary_is_made() -> None:
    data = small(tokens_per_client=7)
    # bob's second text would be word 4 to 8, so it is left out, and with it c to f.
    assert len(data.train[0].examples) == 1
    assert data.names.words == ("a", "b", "v")


def test_labels_are_counted_over_training_clients_without_padding() -> None:
    data = small()
    # bob: a b a EOS, b c OOV OOV. carol: a OOV EOS. Nothing of alice.
    assert data.label_counts.tolist() == [0, 3, 0, 2, 3, 2, 1]
    assert data.label_counts.dtype == np.int64
    brute = [0] * 7
    for client in data.train:
        for target in client.examples.columns()["targets"].ravel().tolist():
            brute[target] += target != PAD
    assert label_counts(data.train, 7).tolist() == brute


def test_clients_are_sorted_by_name_whatever_the_reader_s_order() -> None:
    clients = [ClientTexts(name, ["a b"]) for name in ("erin", "alice", "dave", "bob")]
    assert names(build_federated_text(clients, NextWordSettings(vocabulary=2))) == (
        ["bob", "dave", "erin"],
        ["alice"],
    )
    assert names(build_federated_text(clients[::-1], NextWordSettings(vocabulary=2))) == (
        ["bob", "dave", "erin"],
        ["alice"],
    )


def test_a_client_without_a_word_is_left_out() -> None:
    clients = [ClientTexts("bob", ["a b"]), ClientTexts("alice", ["a"]), ClientTexts("dave", ["  ", ""])]
    assert names(build_federated_text(clients, NextWordSettings(vocabulary=2))) == (["bob"], ["alice"])


@pytest.mark.parametrize(
    ("present", "held_out", "side"),
    [
        ([TRAIN], "test", "test"),
        ([TRAIN, TEST], "validation", "validation"),
        ([VALIDATION, TEST], "validation", "training"),
    ],
)
def test_an_empty_side_is_refused(present: list[str], held_out: str, side: str) -> None:
    clients = [ClientTexts(name, ["a b"]) for name in present]
    with pytest.raises(HashfedError) as caught:
        build_federated_text(clients, NextWordSettings(vocabulary=2), held_out=held_out)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"data.source: of {len(present)} clients none is a {side} client (split by md5 of the name)"
    )


@pytest.mark.parametrize("tokenizer", ["ascii", "unicode"])
def test_clients_alone_are_encoded_as_all_together(tokenizer: TokenizerName) -> None:
    clients = [ClientTexts(name, ["it’s café", "it's 'a' cafe\u0301"]) for name in ("bob", "alice")]
    settings = NextWordSettings(vocabulary=3, tokenizer=tokenizer)
    data = build_federated_text(clients, settings)
    assert ("café" in data.names.words) == (tokenizer == "unicode")
    for client, whole in zip(clients, (data.train[0], data.held_out[0]), strict=True):
        alone = encode_client(client, data.names, settings)
        assert alone is not None
        np.testing.assert_array_equal(
            alone.examples.columns()["targets"], whole.examples.columns()["targets"]
        )


def test_a_name_spelt_in_two_ways_is_one_client() -> None:
    names = [unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD")]
    clients = [ClientTexts(name, [f"{text} b"]) for name, text in zip(names, "ac", strict=True)]
    merged = merge_clients(clients)
    assert merged == [ClientTexts(names[0], ["a b", "c b"])]
    held_out = [ClientTexts("alice", ["a"])]
    one, other = (
        build_federated_text(clients + held_out, NextWordSettings(vocabulary=3)),
        build_federated_text(merged + held_out, NextWordSettings(vocabulary=3)),
    )
    assert [client.name for client in one.train] == [client.name for client in other.train] == [names[0]]
    np.testing.assert_array_equal(
        one.train[0].examples.columns()["inputs"], other.train[0].examples.columns()["inputs"]
    )
