"""YAML by the core schema of YAML 1.2: ``010`` is ten, and ``yes``, ``1:30`` and dates are text.

The library parses; what a plain scalar means says ``scalars``, for the library also reads some of YAML 1.1's
numbers and dates. Nothing but text, numbers, truth values, nothing, lists and mappings can come out.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from hashfed.display import brief
from hashfed.errors import HashfedError
from hashfed.scalars import plain_value

MOST_DEPTH = 50
"""Of lists and mappings within each other."""
CORE = "tag:yaml.org,2002:"

_TAGS = {f"{CORE}int": int, f"{CORE}float": float, f"{CORE}bool": bool, f"{CORE}null": type(None)}


def read_yaml(text: str) -> Any:
    """The one document of ``text``; None where it is empty.

    Raises:
        HashfedError: one line with the number of the line, where it is no YAML, has a key twice, or more than
            one document.

    """
    try:
        return _Reader(YAML(typ="safe", pure=True).parse(io.StringIO(text))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise HashfedError(f"not YAML ({where}{brief(str(error.problem or error.context))})") from None
    except (YAMLError, ValueError) as error:
        raise HashfedError(f"not YAML ({brief(' '.join(str(error).split()))})") from None
    except RecursionError:
        raise HashfedError("not YAML that can be read (nested too deeply)") from None


def write_yaml(tree: Mapping[str, Any]) -> str:
    """A mapping of text, numbers, truth values, None and mappings, as ``read_yaml`` reads it back."""
    writer: Any = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    writer.width = 2**31
    writer.allow_unicode = False
    file = io.StringIO()
    writer.dump(tree, file)
    return file.getvalue()


class _Reader:
    """Makes values of the library's events."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, Any] = {}

    def document(self) -> Any:
        """The value of the only document."""
        value, documents = None, 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _problem(event, "a second document begins")
                if event.version not in (None, (1, 2)):
                    raise _problem(event, f"YAML {'.'.join(map(str, event.version))}; must be YAML 1.2")
                value = self._value(next(self._events), ())
            if isinstance(event, StreamEndEvent):
                break
        return value

    def _value(self, event: Event, path: tuple[str, ...], depth: int = 0) -> Any:
        if depth > MOST_DEPTH:
            raise _problem(event, f"nested more than {MOST_DEPTH} deep")
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise _problem(event, f"*{brief(event.anchor)} stands for nothing before it")
            return self._anchors[event.anchor]
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, SequenceStartEvent):
            value = self._list(path, depth)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(path, depth)
        else:
            raise _problem(event, "nothing is expected here")
        if event.anchor is not None:
            # Only now: what stands for itself is never whole.
            self._anchors[event.anchor] = value
        return value

    def _list(self, path: tuple[str, ...], depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            values.append(self._value(event, path, depth + 1))
        return values

    def _mapping(self, path: tuple[str, ...], depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _problem(event, "a name must be text, not a list, a mapping or an alias")
            name, line = str(event.value), event.start_mark.line + 1
            inner = (*path, name)
            if name in lines:
                full = brief(".".join(inner))
                raise HashfedError(f"{full}: given twice, in line {lines[name]} and in line {line}")
            lines[name] = line
            values[name] = self._value(next(self._events), inner, depth + 1)
        return values


def _scalar(event: ScalarEvent) -> Any:
    """The value; a tag such as ``!!str`` is obeyed where the core schema has it."""
    text, tag = str(event.value), None if event.tag is None else str(event.tag)
    if tag is None:
        return plain_value(text) if event.implicit[0] else text
    if tag in ("!", f"{CORE}str"):
        return text
    value = plain_value(text)
    if tag == f"{CORE}float" and type(value) is int:
        value = float(value)
    if type(value) is not _TAGS.get(tag):
        raise _problem(event, f"{brief(text)} with the tag {brief(tag)}")
    return value


def _problem(event: Event, text: str) -> HashfedError:
    return HashfedError(f"not YAML (line {event.start_mark.line + 1}: {text})")
