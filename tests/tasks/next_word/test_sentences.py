from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.next_word.sentences import (
    Kept,
    cut_text,
    encode_sentences,
    most_own_rows,
    most_predictions,
)
from hashfed.tasks.next_word.vocabulary import BOS, EOS, OOV, PAD, Vocabulary

VOCABULARY = Vocabulary(tuple(f"w{rank}" for rank in range(30)))


def w(*ranks: int) -> list[str]:
    return [f"w{rank}" for rank in ranks]


def test_a_short_sentence_ends_with_eos() -> None:
    found = encode_sentences([w(3, 0)], VOCABULARY, 5)
    assert found.inputs.tolist() == [[BOS, 7, 4, EOS, PAD]]
    assert found.targets.tolist() == [[7, 4, EOS, PAD, PAD]]
    assert found.inputs.dtype == found.targets.dtype == np.int32


def test_a_sentence_of_twenty_words_has_no_eos() -> None:
    words = w(*range(20))
    found = encode_sentences([words], VOCABULARY, 20)
    ids = list(range(4, 24))
    assert found.inputs.tolist() == [[BOS, *ids[:19]]]
    assert found.targets.tolist() == [ids]


def test_a_sentence_of_nineteen_words_has_eos_as_its_last_target() -> None:
    found = encode_sentences([w(*range(19))], VOCABULARY, 20)
    ids = list(range(4, 23))
    assert found.inputs.tolist() == [[BOS, *ids]]
    assert found.targets.tolist() == [[*ids, EOS]]


def test_unknown_words_are_oov() -> None:
    found = encode_sentences([["w1", "what"], w(2)], VOCABULARY, 3)
    assert found.inputs.tolist() == [[BOS, 5, OOV], [BOS, 6, EOS]]
    assert found.targets.tolist() == [[5, OOV, EOS], [6, EOS, PAD]]


@given(st.lists(st.lists(st.integers(0, 29), max_size=6), min_size=1, max_size=5))
def test_targets_are_the_inputs_one_position_later(sentences: list[list[int]]) -> None:
    found = encode_sentences([w(*ranks) for ranks in sentences], VOCABULARY, 6)
    assert len(found) == len(sentences)
    np.testing.assert_array_equal(found.inputs[:, 1:], found.targets[:, :-1])
    assert (found.inputs[:, 0] == BOS).all()
    assert found.weight == sum(min(len(ranks) + 1, 6) for ranks in sentences)
    for ranks, targets in zip(sentences, found.targets.tolist(), strict=True):
        end = [EOS] if len(ranks) < 6 else []
        expected = [4 + rank for rank in ranks] + end
        assert targets == expected + [PAD] * (6 - len(expected))


def test_own_rows_are_inputs_and_targets_without_padding() -> None:
    found = encode_sentences([w(9, 2), w(2)], VOCABULARY, 4)
    rows = found.own(OUTPUT, INPUT)
    assert rows.tolist() == [BOS, EOS, 6, 13]
    assert rows.dtype == np.int64


def test_the_last_word_of_a_full_sentence_is_an_own_row_too() -> None:
    assert encode_sentences([w(5, 8)], VOCABULARY, 2).own(OUTPUT, INPUT).tolist() == [BOS, 9, 12]


def test_take_gives_sentences_in_the_order_asked() -> None:
    found = encode_sentences([w(1), w(2), w(3)], VOCABULARY, 2).take(np.array([2, 0, 2]))
    assert found.inputs[:, 1].tolist() == [7, 5, 7]
    assert found.targets[:, 0].tolist() == [7, 5, 7]


def test_texts_are_capped_as_a_whole_and_in_order() -> None:
    texts = [w(1, 2, 3), w(4, 5, 6), w(7, 8, 9, 10), w(11)]
    assert list(Kept(7, None, 9, False).of(texts)) == texts[:2]
    assert list(Kept(6, None, 9, False).of(texts)) == texts[:2]
    assert list(Kept(5, None, 9, False).of(texts)) == texts[:1]
    assert list(Kept(11, None, 9, False).of(texts)) == texts


def test_a_first_text_beyond_the_cap_is_cut() -> None:
    assert list(Kept(2, None, 9, False).of([w(1, 2, 3), w(4)])) == [w(1, 2)]


def test_no_text_is_read_after_the_cap() -> None:
    def endless() -> Iterator[list[str]]:
        for _ in range(4):
            yield w(1, 2)
        pytest.fail("read on after the cap")

    assert len(list(Kept(7, None, 9, False).of(endless()))) == 3


@given(st.lists(st.lists(st.just("a"), max_size=5), max_size=8), st.integers(1, 20))
def test_capped_texts_are_the_longest_prefix_that_fits(texts: list[list[str]], most: int) -> None:
    kept = list(Kept(most, None, 9, False).of(texts))
    first = next((text for text in texts if text), [])
    if len(first) > most:
        assert [text for text in kept if text] == [first[:most]]
        return
    assert kept == texts[: len(kept)]
    assert sum(map(len, kept)) <= most
    if len(kept) < len(texts):
        assert sum(map(len, texts[: len(kept) + 1])) > most


@pytest.mark.parametrize(
    ("count", "split", "lengths"),
    [
        (0, False, []),
        (0, True, []),
        (3, False, [3]),
        (3, True, [3]),
        (4, False, [4]),
        (4, True, [4]),
        (9, False, [4]),
        (9, True, [4, 4, 1]),
    ],
)
def test_a_long_text_is_truncated_or_split(count: int, split: bool, lengths: list[int]) -> None:
    words = w(*range(count))
    pieces = cut_text(words, 4, split)
    assert [len(piece) for piece in pieces] == lengths
    assert [word for piece in pieces for word in piece] == words[: sum(lengths)]


@pytest.mark.parametrize(
    ("length", "sentences", "tokens"), [(1, 3, 9), (2, 3, 9), (3, 3, 5), (3, 4, 4), (4, 2, 9)]
)
def test_the_most_that_sentences_can_hold(length: int, sentences: int, tokens: int) -> None:
    """Of all sentences of distinct words that there can be."""
    own = predictions = 0
    for counts in np.ndindex(*[length + 1] * sentences):
        if 0 < sum(counts) <= tokens:
            words = iter(VOCABULARY.words)
            cut = [[next(words) for _ in range(count)] for count in counts if count]
            found = encode_sentences(cut, VOCABULARY, length)
            own, predictions = max(own, len(found.own(OUTPUT, INPUT))), max(predictions, found.weight)
    assert most_own_rows(sentences, length, tokens) == own
    assert most_predictions(sentences, length, tokens) == predictions
