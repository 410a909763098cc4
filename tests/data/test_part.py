import hashlib
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.data import ClientTexts
from hashfed.data.client_texts import Key
from hashfed.data.part import Part, Taken, choose, group_of, needed
from hashfed.tasks.next_word.clients import build_federated_text
from hashfed.tasks.next_word.sentences import Kept
from hashfed.tasks.next_word.task import NextWordSettings

NAMES: list[Key] = [(None, f"c{number}") for number in range(200)]
STATED: list[Key] = [
    (group, f"c{number}") for group in ("train", "validation", "test") for number in range(60)
]
HeldOut = Literal["test", "validation"]
HELD_OUT: tuple[HeldOut, HeldOut] = "test", "validation"


@pytest.mark.parametrize("keys", [NAMES, STATED])
@pytest.mark.parametrize("held_out", HELD_OUT)
def test_the_first_by_a_hash_of_the_name_are_chosen(keys: list[Key], held_out: HeldOut) -> None:
    everyone = choose(keys, held_out)
    chosen = choose(keys[::-1], held_out, 9, 4)
    for side, whole, count in (
        (chosen.train, everyone.train, 9),
        (chosen.held_out, everyone.held_out, 4),
        (chosen.vocabulary, everyone.vocabulary, 9),
    ):
        ranked = sorted(whole, key=lambda key: hashlib.sha256(key[1].encode()).digest())
        assert side == set(ranked[:count])
    assert choose(keys, held_out, 8, 3).train < chosen.train
    assert choose(keys, held_out, 1000, 1000) == everyone


def test_who_is_for_what() -> None:
    for held_out in HELD_OUT:
        by_name, stated = choose(NAMES, held_out), choose(STATED, held_out)
        assert by_name.held_out == {key for key in NAMES if group_of(key[1]) == held_out}
        assert by_name.vocabulary == {key for key in NAMES if group_of(key[1]) != "test"}
        assert stated.held_out == {key for key in STATED if key[0] == held_out}
        assert stated.train == stated.vocabulary == {key for key in STATED if key[0] == "train"}
        assert not by_name.train & by_name.held_out
    assert choose(NAMES, "test").train == choose(NAMES, "test").vocabulary
    assert choose(NAMES, "validation").train == {key for key in NAMES if group_of(key[1]) == "train"}


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.sampled_from(HELD_OUT),
    st.sampled_from([NAMES, STATED]),
    st.booleans(),
)
def test_of_those_that_are_needed_the_same_are_chosen(
    clients: int, held_out_clients: int, held_out: HeldOut, keys: list[Key], vocabulary: bool
) -> None:
    found = needed(keys, Part(clients, held_out_clients, held_out, vocabulary))
    again = choose(sorted(found, key=str), held_out, clients, held_out_clients)
    due = choose(keys, held_out, clients, held_out_clients)
    assert (again.train, again.held_out) == (due.train, due.held_out)
    assert found == due.train | due.held_out | (due.vocabulary if vocabulary else set())
    if vocabulary:
        assert again.vocabulary == due.vocabulary
    assert needed(keys, Part(clients, held_out_clients)) == set(keys)


TEXTS = st.lists(st.lists(st.sampled_from("ab"), max_size=9).map(" ".join), max_size=12)


@given(TEXTS, st.integers(1, 30), st.integers(1, 8) | st.none(), st.integers(1, 5), st.booleans())
def test_no_text_that_is_left_out_would_have_been_kept(
    texts: list[str], tokens: int, sentences: int | None, length: int, split: bool
) -> None:
    taken = Taken(Part(tokens=tokens, sentences=sentences))
    for item in texts:
        if not taken.full:
            taken.add(item)
    assert taken.texts == texts[: len(taken.texts)]
    settings = NextWordSettings(
        vocabulary=1,
        sentence_length=length,
        tokens_per_client=tokens,
        long_texts="split" if split else "truncate",
        sentences_per_client=sentences,
        tokenizer="spaces",
    )
    built = []
    for found in (texts, taken.texts):
        clients = [ClientTexts("bob", ["a b", *found]), ClientTexts("alice", ["a"])]
        clients[0] = ClientTexts("bob", found) if any(found) else clients[0]
        data = build_federated_text(clients, settings)
        built.append(data.train[0].examples.columns()["targets"].tolist())
        assert len(built[-1]) <= (sentences or len(built[-1]))
    assert built[0] == built[1]


@pytest.mark.parametrize(
    ("split", "most", "kept"),
    [
        (False, 1, [[], list("abcde")]),
        (False, 2, [[], list("abcde"), list("fg")]),
        (False, 9, [[], list("abcde"), list("fg"), [], list("h")]),
        (True, 1, [[], list("ab")]),
        (True, 3, [[], list("abcde")]),
        (True, 4, [[], list("abcde"), list("fg")]),
    ],
)
def test_the_first_sentences_are_kept(split: bool, most: int, kept: list[list[str]]) -> None:
    texts = [[], list("abcde"), list("fg"), [], list("h")]
    assert list(Kept(99, most, 2, split).of(texts)) == kept


def test_words_beyond_the_sentences_that_are_kept_are_in_no_vocabulary() -> None:
    clients = [ClientTexts("bob", ["a b c", "d"]), ClientTexts("alice", ["a"])]
    kept = NextWordSettings(vocabulary=3, sentence_length=2, sentences_per_client=1)
    for long_texts, words in (("truncate", 3), ("split", 2)):
        settings = kept.model_copy(update={"long_texts": long_texts, "vocabulary": words})
        data = build_federated_text(clients, settings)
        assert data.names.words == ("a", "b", "c")[:words]
        assert len(data.train[0].examples) == 1
