"""How messages travel: the fields of a dataclass as named tensors and texts, and back.

What a field becomes follows from its type:

    int, str, float                 a text under the field's name; of a float its bits
    array, tensor                   a tensor under the field's name; where it may be None, only if it is there
    dict of arrays or of tensors    a tensor for each, as PREFIX.NAME; so for a dataclass of tensors
    dict of integers                a text for each, as PREFIX.NAME

PREFIX is the field's name, or what ``Prefix`` says. Nothing is copied, and nothing else is ever read.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch

Tensors = Mapping[str, torch.Tensor]
Texts = Mapping[str, str]


@dataclass(frozen=True)
class Prefix:
    """Names of a field's arrays begin with this and a point; where it is empty, with what no other does."""

    name: str


@dataclass(frozen=True)
class OnlyIfAny:
    """An array of this type and shape, without entries, does not travel."""

    dtype: type[np.generic]
    shape: tuple[int, ...]


class Message:
    """What one side sends to the other in a round: a frozen dataclass, its kind given with its name.

    @dataclass(frozen=True)
    class Declare(Message, kind="declare"): ...
    """

    kind: ClassVar[str]
    round: int

    def __init_subclass__(cls, *, kind: str) -> None:
        """Make the kind known, which no other may have."""
        super().__init_subclass__()
        if kind in KINDS:
            raise TypeError(f"{cls.__name__}: {KINDS[kind].__name__} is of kind {kind} already")
        cls.kind = kind
        KINDS[kind] = cls

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        return tensors_of(self)

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return texts_of(self)

    @classmethod
    def read(cls, tensors: Tensors, numbers: Texts) -> Self:
        """The message from what was received.

        Raises:
            KeyError, ValueError, TypeError: where something is missing or of no use.

        """
        return read(cls, tensors, numbers)


KINDS: dict[str, type[Message]] = {}
"""Classes of messages by kind: every one that there is."""

Data = TypeVar("Data")
Held = TypeVar("Held")


def tensors_of(data: Any) -> dict[str, torch.Tensor]:
    """The fields of a dataclass that travel as tensors."""
    found: dict[str, torch.Tensor] = {}
    for part in _parts(_hashable(type(data))):
        found |= part.tensors(getattr(data, part.field))
    return found


def texts_of(data: Any) -> dict[str, str]:
    """The fields of a dataclass that travel as texts."""
    found: dict[str, str] = {}
    for part in _parts(_hashable(type(data))):
        found |= part.texts(getattr(data, part.field))
    return found


def read(cls: type[Data], tensors: Tensors, texts: Texts) -> Data:
    """A dataclass from what ``tensors_of`` and ``texts_of`` gave.

    Raises:
        KeyError, ValueError, TypeError: where something is missing or of no use.

    """
    return cls(**{part.field: part.read(tensors, texts) for part in _parts(_hashable(cls))})


def prefixed(prefix: str, named: Mapping[str, Held]) -> dict[str, Held]:
    """The same as ``PREFIX.NAME``."""
    return {f"{prefix}.{name}": value for name, value in named.items()}


def under(prefix: str, named: Mapping[str, Held]) -> dict[str, Held]:
    """Those that ``prefixed`` gave, by their names before."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in named.items() if name.startswith(start)}


@dataclass(frozen=True)
class _Part:
    """A field, and how it travels: the texts here, which most fields have none of."""

    field: str

    def tensors(self, value: Any) -> dict[str, torch.Tensor]:
        return {}

    def texts(self, value: Any) -> dict[str, str]:
        return {}

    def read(self, tensors: Tensors, texts: Texts) -> Any:
        raise NotImplementedError

    def claims(self, name: str) -> bool:
        """Whether a tensor of this name is of this field."""
        return name == self.field


@dataclass(frozen=True)
class _Text(_Part):
    show: Callable[[Any], str]
    parse: Callable[[str], Any]

    def texts(self, value: Any) -> dict[str, str]:
        return {self.field: self.show(value)}

    def read(self, tensors: Tensors, texts: Texts) -> Any:
        return self.parse(texts[self.field])


@dataclass(frozen=True)
class _Integers(_Part):
    prefix: str

    def texts(self, value: Mapping[str, int]) -> dict[str, str]:
        return {f"{self.prefix}.{name}": str(number) for name, number in value.items()}

    def read(self, tensors: Tensors, texts: Texts) -> Any:
        return {name: int(text) for name, text in under(self.prefix, texts).items()}


@dataclass(frozen=True)
class _Array(_Part):
    numpy: bool
    optional: bool
    empty: OnlyIfAny | None

    def tensors(self, value: Any) -> dict[str, torch.Tensor]:
        if value is None or (self.empty is not None and len(value) == 0):
            return {}
        return {self.field: torch.from_numpy(value) if self.numpy else value}

    def read(self, tensors: Tensors, texts: Texts) -> Any:
        if self.field not in tensors and self.empty is not None:
            return np.empty(self.empty.shape, self.empty.dtype)
        if self.field not in tensors and self.optional:
            return None
        return tensors[self.field].numpy() if self.numpy else tensors[self.field]


@dataclass(frozen=True)
class _Arrays(_Part):
    prefix: str
    numpy: bool
    others: tuple[_Part, ...] = ()
    """Fields whose tensors are not of this one, where it has no prefix."""

    def tensors(self, value: Any) -> dict[str, torch.Tensor]:
        found = {name: torch.from_numpy(array) for name, array in value.items()} if self.numpy else value
        return prefixed(self.prefix, found) if self.prefix else found

    def read(self, tensors: Tensors, texts: Texts) -> Any:
        if self.prefix:
            found = under(self.prefix, tensors)
        else:
            found = {n: value for n, value in tensors.items() if not any(p.claims(n) for p in self.others)}
        return {name: value.numpy() for name, value in found.items()} if self.numpy else found

    def claims(self, name: str) -> bool:
        return bool(self.prefix) and name.startswith(f"{self.prefix}.")


@dataclass(frozen=True)
class _Group(_Part):
    """A dataclass of tensors, or None."""

    cls: type

    def tensors(self, value: Any) -> dict[str, torch.Tensor]:
        return {} if value is None else prefixed(self.field, vars(value))

    def read(self, tensors: Tensors, texts: Texts) -> Any:
        found = under(self.field, tensors)
        return self.cls(**found) if found else None

    def claims(self, name: str) -> bool:
        return name.startswith(f"{self.field}.")


@cache
def _parts(cls: Any) -> tuple[_Part, ...]:
    """How the fields of a dataclass travel: single arrays before groups of them."""
    hints = get_type_hints(cls, include_extras=True)
    parts = [_part(item.name, hints[item.name]) for item in fields(cls)]
    parts.sort(key=lambda part: isinstance(part, _Arrays | _Group))
    rest = tuple(part for part in parts if not (isinstance(part, _Arrays) and not part.prefix))
    return tuple(
        _Arrays(part.field, "", part.numpy, rest) if isinstance(part, _Arrays) and not part.prefix else part
        for part in parts
    )


def _hashable(cls: Any) -> Any:
    """The class, whose hash mypy does not believe in."""
    return cls


def _part(name: str, hint: Any) -> _Part:
    notes: Iterable[Any] = ()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
    prefix = next((note.name for note in notes if isinstance(note, Prefix)), name)
    empty = next((note for note in notes if isinstance(note, OnlyIfAny)), None)
    optional = get_origin(hint) in (Union, UnionType)
    if optional:
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if hint in _TEXTS:
        return _Text(name, *_TEXTS[hint])
    if _is_array(hint):
        return _Array(name, hint is not torch.Tensor, optional, empty)
    if get_origin(hint) is dict:
        _, held = get_args(hint)
        return _Integers(name, prefix) if held is int else _Arrays(name, prefix, held is not torch.Tensor)
    return _Group(name, hint)


def _is_array(hint: Any) -> bool:
    return hint is torch.Tensor or hint is np.ndarray or get_origin(hint) is np.ndarray


def _bits(value: float) -> str:
    """The bits of a number, for decimal digits would be more or fewer from client to client."""
    return struct.pack(">d", value).hex()


def _of_bits(text: str) -> float:
    found: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return found


_TEXTS: dict[Any, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    int: (str, int),
    str: (str, str),
    float: (_bits, _of_bits),
}
