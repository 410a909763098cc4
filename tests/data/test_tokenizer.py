import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.data.tokenizer import tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hi, you!", ["hi", ",", "you", "!"]),
        ("don't", ["don't"]),
        ("It's 5:30pm", ["it's", "5", ":", "30pm"]),
        ("'quoted'", ["'quoted'"]),
        ("wait...", ["wait", ".", ".", "."]),
        ("a-b_c", ["a", "-", "b", "_", "c"]),
        ("ABC abc", ["abc", "abc"]),
        ("café", ["caf", "é"]),
        ("ÉTÉ", ["é", "t", "é"]),
        ("ok 😀😀", ["ok", "😀", "😀"]),
        ("你好", ["你", "好"]),
        ("<email>", ["<", "email", ">"]),
        ("  tabs\tand\nlines\u00a0 ", ["tabs", "and", "lines"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words_and_single_characters(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.text())
def test_every_visible_character_is_kept_in_order(text: str) -> None:
    words = tokenize(text)
    assert "".join(words) == "".join(text.lower().split())
    assert all(words)


@given(st.text())
def test_tokenizing_its_own_words_changes_nothing(text: str) -> None:
    words = tokenize(text)
    assert tokenize(" ".join(words)) == words
