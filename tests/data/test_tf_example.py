from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.data.tf_example import ExampleError, _any_texts, _plain_text, text_feature
from tff_files import example, feature, field, text, varint


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_text_that_was_written(value: str) -> None:
    assert text_feature(example(value), "tokens") == value


@given(st.binary(max_size=60))
def test_any_bytes_are_a_text_or_an_error_of_ours(data: bytes) -> None:
    for written in (data, field(1, data), field(1, field(1, data)), field(1, feature("tokens", data))):
        with suppress(ExampleError):
            assert text_feature(written, "tokens").encode() in data


@given(st.data())
def test_a_message_that_is_cut_off_is_never_another_text(data: st.DataObject) -> None:
    whole = example("how do i sort a list ?")
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ExampleError):
        text_feature(whole[:end], "tokens")


@given(st.data())
def test_the_short_way_says_what_the_long_one_does(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(["tokens", "title", "x"]), max_size=4))
    values = st.one_of(
        st.text(max_size=200).map(text), st.binary(max_size=9), st.just(field(3, field(1, b"\7")))
    )
    whole = bytearray(field(1, b"".join(feature(name, data.draw(values)) for name in names)))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=2)):
        whole[place] = data.draw(st.integers(0, 255))
    written = bytes(whole)
    found = _plain_text(written, b"tokens")
    if found is not None:
        assert _any_texts(written, b"tokens", "tokens") == [found]


def test_what_writers_write_goes_the_short_way() -> None:
    for words in (1, 10, 1000):
        assert _plain_text(example("word " * words), b"tokens") == b"word " * words
    assert _plain_text(example("word " * 10_000), b"tokens") is None


def test_unknown_fields_and_features_of_any_kind_are_passed_over() -> None:
    number, floats = field(3, field(1, varint(7))), field(2, field(1, b"\0\0\x80?"))
    unpacked = field(3, varint(8) + varint(300))  # an int64 list as older writers have it
    fixed = varint(8 * 9 + 1) + bytes(8) + varint(8 * 9 + 5) + bytes(4) + varint(8 * 9) + varint(2**63)
    entries = feature("score", number) + feature("x", floats) + feature("y", unpacked)
    written = fixed + field(7, b"?") + field(1, fixed + entries + feature("tokens", text("a b"))) + fixed
    assert text_feature(written, "tokens") == "a b"


def test_messages_in_pieces_are_joined_and_the_last_of_one_name_counts() -> None:
    first, second = feature("tokens", text("old")), feature("tokens", text("new"))
    assert text_feature(field(1, first + second), "tokens") == "new"
    assert text_feature(field(1, first) + field(1, second), "tokens") == "new"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (b"", "has no feature tokens"),
        (field(1, feature("title", text("x"))), "has no feature tokens"),
        (field(1, feature("tokens", field(3, field(1, varint(7))))), "its feature tokens holds numbers"),
        (field(1, feature("tokens", field(2, b""))), "its feature tokens holds numbers"),
        (field(1, feature("tokens", field(1, b""))), "its feature tokens holds 0 texts; one is due"),
        (field(1, feature("tokens", b"")), "its feature tokens holds 0 texts"),
        (
            field(1, feature("tokens", field(1, field(1, b"a") + field(1, b"b")))),
            "its feature tokens holds 2 texts; one is due",
        ),
        (field(1, feature("tokens", field(1, field(1, b"\xff")))), "its feature tokens is not UTF-8"),
        (varint(8) + varint(1), "no tf.train.Example"),
        (varint(8 * 1 + 3), "no tf.train.Example"),
        (varint(2) + varint(0), "no tf.train.Example"),
        (b"\xff" * 11, "no tf.train.Example"),
    ],
)
def test_what_is_no_such_text(written: bytes, problem: str) -> None:
    with pytest.raises(ExampleError) as caught:
        text_feature(written, "tokens")
    assert str(caught.value).startswith(problem)
