from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed import RunFolder
from hashfed.data.tokenizer import TOKENIZERS, TokenizerName
from hashfed.keyboard.suggestions import Keyboard, Typed, split
from hashfed.runs.predict import likeliest


@pytest.mark.parametrize(
    ("text", "words", "begun", "units"),
    [
        ("", [], "", 0),
        ("  ", [], "", 0),
        ("how are", ["how"], "are", 3),
        ("how are ", ["how", "are"], "", 0),
        ("how are you?", ["how", "are", "you", "?"], "", 0),
        ("I don'", ["i"], "don'", 4),
        ("I don’t", ["i"], "don't", 5),
        ("say 'he", ["say", "'"], "he", 2),
        ("12", [], "12", 2),
        ("cafe\u0301", [], "café", 5),
        ("so\u00adft", [], "soft", 5),
        ("你好", ["你", "好"], "", 0),
        ("👍🏽", ["👍🏽"], "", 0),
        ("👍 \U0001d4f1i", ["👍"], "\U0001d4f1i", 3),
        ("a\ud800b", ["a"], "b", 1),
    ],
)
def test_what_is_being_typed(text: str, words: list[str], begun: str, units: int) -> None:
    assert split(text, TOKENIZERS["unicode"]) == Typed(words, begun, units)


@given(
    text=st.text(st.sampled_from("aB1'’. \n?é你👍\u0301\u00ad"), max_size=12),
    name=st.sampled_from(["unicode", "ascii"]),
)
def test_a_finished_text_has_the_words_of_its_tokenizer(text: str, name: TokenizerName) -> None:
    tokenizer = TOKENIZERS[name]
    finished = split(text + " ", tokenizer)
    assert finished == Typed(tokenizer(text + " "), "", 0)
    typed = split(text, tokenizer)
    assert typed.units <= len(text.encode("utf-16-le")) // 2
    assert (typed.units > 0) == bool(typed.begun)


@pytest.mark.parametrize("text", ["", "w1 ", "w1 w2 ", "unheard w3 ", "w1. ", "w1 " * 30])
def test_between_words_it_suggests_what_predict_does(text: str, trained: Path) -> None:
    run = RunFolder(trained)
    assert Keyboard(run).suggest(text).words == likeliest(run, [text], 3)[0]


def test_a_word_begun_is_completed_from_the_same_probabilities(trained: Path) -> None:
    run = RunFolder(trained)
    keyboard = Keyboard(run)
    everything = likeliest(run, ["w1 w2"], 40)[0]
    for begun in ("w", "W1", "w11"):
        found = keyboard.suggest(f"w1 w2 {begun}")
        assert found.words == [pair for pair in everything if pair[0].startswith(begun.lower())][:3]
        assert (found.begun, found.units) == (begun.lower(), len(begun))
    assert len(keyboard.suggest("w1 w2 w").words) == 3
    assert keyboard.suggest("w1 w2 x").words == []


def test_it_tells_what_the_model_reads(trained: Path) -> None:
    keyboard = Keyboard(RunFolder(trained))
    assert keyboard.suggest("w1 unheard w2").read == [("w1", True), ("unheard", False)]
    # A sentence of this run has six words, and one of them is to be predicted.
    assert [word for word, _ in keyboard.suggest("w1 w2 w3 w4 w5 w6 ").read] == ["w2", "w3", "w4", "w5", "w6"]


def test_a_line_is_a_message(trained: Path) -> None:
    keyboard = Keyboard(RunFolder(trained))
    assert keyboard.suggest("w5 w6\nw1 w") == keyboard.suggest("w1 w")
    assert keyboard.suggest("w5 w6\n") == keyboard.suggest("")


@pytest.mark.parametrize("text", ["w1 <", "w1 <o", "w1 <pad>", "<"])
def test_special_symbols_are_never_suggested(text: str, trained: Path) -> None:
    words = [word for word, _ in Keyboard(RunFolder(trained)).suggest(text).words]
    assert not {"<pad>", "<oov>", "<bos>", "<eos>"} & set(words)
