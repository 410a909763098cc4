"""Bytes of a ``tf.train.Example``, read without TensorFlow.

In the wire format of protocol buffers a message is a row of fields, each a number with a kind of value. Those
on the way to a text are (every message in them may come in several pieces):

    Example  { Features features = 1 }
    Features { map<string, Feature> feature = 1 }     an entry has key = 1 and value = 2
    Feature  { BytesList bytes_list = 1 | FloatList float_list = 2 | Int64List int64_list = 3 }
    BytesList { repeated bytes value = 1 }
"""

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Kinds of values; two more, groups, are in no file of this century."""
LONGEST_VARINT = 10
"""Bytes of a number of 64 bits."""
FIRST, ENTRY_VALUE = 8 * 1 + LENGTH, 8 * 2 + LENGTH
"""How fields of bytes with the numbers 1 and 2 begin."""


class ExampleError(ValueError):
    """The bytes are no such message, or have not what is asked for."""


class _OtherwiseError(Exception):
    """The bytes are not in the plainest form."""


def text_feature(example: bytes, name: str) -> str:
    """The text of a feature that holds one.

    Raises:
        ExampleError: where there is none, or several, or the bytes are damaged.

    """
    key = name.encode()
    plain = _plain_text(example, key)
    values = _any_texts(example, key, name) if plain is None else [plain]
    if len(values) != 1:
        raise ExampleError(f"its feature {name} holds {len(values)} texts; one is due")
    try:
        return values[0].decode()
    except UnicodeDecodeError as error:
        raise ExampleError(f"its feature {name} is not UTF-8 ({error.reason})") from None


def _plain_text(example: bytes, key: bytes) -> bytes | None:
    """The one text of a feature in an example as writers write it: every message in one piece.

    None where anything is otherwise, which ``_any_texts`` is for; this is seven times as fast.
    """
    found = None
    try:
        place, end = _span(example, 0)
        while place < end == len(example):
            start, stop = _span(example, place)
            name, after = _span(example, start)
            value, last = _span(example, after, ENTRY_VALUE)
            if last != stop or (found is not None and example[name:after] == key):
                return None
            if example[name:after] == key:
                found = value, last
            place = stop
        if found is None or place != end:
            return None
        start, stop = found
        start, last = _span(example, start)
        text, text_end = _span(example, start)
        return example[text:text_end] if last == text_end == stop else None
    except (IndexError, _OtherwiseError):
        return None


def _span(data: bytes, place: int, tag: int = FIRST) -> tuple[int, int]:
    """Where the bytes of a field begin and end that begins with this tag and is shorter than 2¹⁴."""
    if data[place] != tag:
        raise _OtherwiseError
    length = data[place + 1]
    if length < 0x80:
        return place + 2, place + 2 + length
    if data[place + 2] >= 0x80:
        raise _OtherwiseError
    return place + 3, place + 3 + (length & 0x7F | data[place + 2] << 7)


def _any_texts(example: bytes, key: bytes, name: str) -> list[bytes]:
    """The texts of a feature, however the messages are written."""
    feature = None
    for features in _messages(example, 1):
        for entry in _messages(features, 1):
            if key in _messages(entry, 1):
                feature = b"".join(_messages(entry, 2))  # of one name the last counts
    if feature is None:
        raise ExampleError(f"has no feature {name}")
    if any(number in (2, 3) for number, _, _ in _fields(feature)):
        raise ExampleError(f"its feature {name} holds numbers, not text")
    return [value for items in _messages(feature, 1) for value in _messages(items, 1)]


def _messages(data: bytes, number: int) -> list[bytes]:
    """The values of a field of bytes."""
    found = []
    for at, kind, value in _fields(data):
        if at == number:
            if kind != LENGTH:
                raise ExampleError("no tf.train.Example")
            found.append(value)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, kind and value of each field; of numbers the value is left out."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, place = _varint(data, place)
            start = place
        elif kind == LENGTH:
            length, start = _varint(data, place)
            place = start + length
        elif kind in (FIXED64, FIXED32):
            start = place = place + (8 if kind == FIXED64 else 4)
        else:
            raise ExampleError("no tf.train.Example")
        if number == 0 or place > end:
            raise ExampleError("no tf.train.Example, or cut off")
        yield number, kind, data[start:place]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, least first, and the place after it."""
    value = 0
    for shift, byte in enumerate(data[place : place + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    raise ExampleError("no tf.train.Example, or cut off")
