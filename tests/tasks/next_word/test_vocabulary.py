import pytest

from hashfed.errors import HashfedError
from hashfed.tasks.next_word.vocabulary import BOS, EOS, OOV, PAD, SPECIAL, Vocabulary


def test_special_symbols_come_first() -> None:
    assert (PAD, OOV, BOS, EOS) == (0, 1, 2, 3)
    vocabulary = Vocabulary(("the", "a"))
    assert len(vocabulary) == 6
    assert [vocabulary.word(id) for id in range(6)] == [*SPECIAL, "the", "a"]
    assert SPECIAL == ("<pad>", "<oov>", "<bos>", "<eos>")


def test_words_are_ranked_by_frequency_over_all_texts() -> None:
    texts = [["b", "c", "b"], ["a", "c"], ["c"]]
    assert Vocabulary.most_frequent(texts, 3).words == ("c", "b", "a")
    assert Vocabulary.most_frequent(texts, 1).words == ("c",)


def test_equal_counts_are_in_alphabetical_order() -> None:
    texts = [["z", "m", "a", "!", "z"]]
    assert Vocabulary.most_frequent(texts, 4).words == ("z", "!", "a", "m")
    assert Vocabulary.most_frequent(texts, 2).words == ("z", "!")
    assert Vocabulary.most_frequent([["a", "!", "z", "m", "z"]], 4).words == ("z", "!", "a", "m")


def test_more_words_than_the_texts_have_are_refused() -> None:
    with pytest.raises(HashfedError) as caught:
        Vocabulary.most_frequent([["a", "b"], ["a"]], 3)
    assert str(caught.value) == "data.vocabulary = 3: the training clients have only 2 distinct words"


def test_words_become_ids_and_unknown_words_oov() -> None:
    vocabulary = Vocabulary(("the", "a"))
    assert vocabulary.encode(["a", "cat", "the", "a"]) == [5, OOV, 4, 5]
    assert vocabulary.encode([]) == []


def test_the_text_of_a_special_symbol_is_an_unknown_word() -> None:
    assert Vocabulary(("a",)).encode(["<pad>", "<eos>"]) == [OOV, OOV]
    assert Vocabulary.most_frequent([["<oov>", "a", *SPECIAL, "<oov>"]], 1).words == ("a",)
    with pytest.raises(HashfedError, match="have only 1 distinct words"):
        Vocabulary.most_frequent([["<oov>", "a"]], 2)


def test_json_round_trip() -> None:
    vocabulary = Vocabulary(("the", "é", '"', "\\", "😀", "don't"))
    loaded = Vocabulary.from_json(vocabulary.to_json())
    assert loaded == vocabulary
    assert loaded.encode(["é"]) == [5]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1, 2]", "must be a JSON list of words"),
        ('{"a": 4}', "must be a JSON list of words"),
        ("[" * 100_000, "must be a JSON list of words"),
        ('["a", ', "no readable vocabulary"),
        ('["a", "b", "a"]', "has the word 'a' twice"),
    ],
)
def test_a_damaged_text_is_refused(content: str, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        Vocabulary.from_json(content)
    assert str(caught.value).startswith(problem)
