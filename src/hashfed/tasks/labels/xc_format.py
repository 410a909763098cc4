"""The text format of the XC repository (Bhatia et al.): features with values, and labels, an example a line.

The first line is ``examples features labels``, three numbers. A line is ``l1,l2,... f:v f:v ...`` with ids
from 0. An example without labels begins with a space, or with its first feature; one without features ends
after its labels; one without either is an empty line.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashfed.data.text_files import byte_lines
from hashfed.errors import HashfedError
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels.text_files import quoted
from hashfed.tasks.labels.values import COUNTED

LARGEST = 2**31 - 1
"""Of a number in the first line: row ids are int32."""
_PAIR = rb"[0-9]+:[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_LINE = re.compile(rb"([0-9]+(?:,[0-9]+)*)?((?:(?:^|[ \t]+)" + _PAIR + rb")*)[ \t]*")


@dataclass(frozen=True)
class LabelFile:
    """What a file holds.

    Attributes:
        examples: one for each line, in order; values as they are there, features and labels of each
        ascending. features: number of features that there may be.
        labels: number of labels that there may be.

    """

    examples: LabelSets
    features: int
    labels: int


def read_label_file(path: Path, setting: str, counted: bool = False) -> LabelFile:
    """Read a file, compressed by gzip or not.

    Args:
        path: of the file.
        setting: what messages call it.
        counted: whether values must be counts.

    Raises:
        HashfedError: where it cannot be read, or is no such file: with the line, the field and its value.

    """
    where = f"{setting} = {path}"
    lines = byte_lines(path, where)
    count, features, labels = _header(next(lines, b""), where)
    found_labels, found_pairs = list[np.ndarray](), list[np.ndarray]()
    for number, line in enumerate(lines, start=2):
        if number > count + 1:
            if line.strip():
                raise HashfedError(
                    f"{where}, line {number}: {quoted(line)}: must have {count:,} examples, as the first "
                    f"line says"
                )
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise HashfedError(f"{where}, line {number}: {_problem(line)}")
        found_labels.append(np.fromstring(match[1] or b"", dtype=np.float64, sep=","))
        found_pairs.append(np.fromstring(match[2].replace(b":", b" "), dtype=np.float64, sep=" "))
    if len(found_pairs) < count:
        raise HashfedError(
            f"{where}: ends after {len(found_pairs):,} examples: must have {count:,}, as the first line says"
        )
    label_counts = np.array([len(one) for one in found_labels], np.int64)
    feature_counts = np.array([len(one) // 2 for one in found_pairs], np.int64)
    label_ids, pairs = np.concatenate(found_labels), np.concatenate(found_pairs).reshape(-1, 2)
    _check_ids(label_ids, label_counts, labels, "label", where)
    _check_ids(pairs[:, 0], feature_counts, features, "feature", where)
    _check_values(pairs, feature_counts, counted, where)
    feature_keys = _keys(pairs[:, 0], feature_counts, features)
    order = np.argsort(feature_keys, kind="stable")
    twice = np.flatnonzero(np.diff(feature_keys[order]) == 0)
    if len(twice):
        example, feature = divmod(int(feature_keys[order[twice[0]]]), features)
        raise HashfedError(f"{where}, line {example + 2}: feature {feature}: is there twice")
    label_keys = np.unique(_keys(label_ids, label_counts, labels))  # a set: what is there twice counts once
    return LabelFile(
        LabelSets(
            pairs[order, 0].astype(np.int32),
            pairs[order, 1].astype(np.float32),
            feature_counts,
            (label_keys % labels).astype(np.int32),
            np.bincount(label_keys // labels, minlength=count).astype(np.int64),
        ),
        features,
        labels,
    )


def _header(line: bytes, where: str) -> tuple[int, int, int]:
    parts = line.split()
    if len(parts) != 3 or not all(part.isdigit() and 1 <= int(part) <= LARGEST for part in parts):
        raise HashfedError(
            f"{where}, line 1: {quoted(line)}: must be the numbers of examples, features and labels, such as "
            "'12920 500 983'"
        )
    examples, features, labels = map(int, parts)
    return examples, features, labels


def _problem(line: bytes) -> str:
    """What of a line is no label and no feature with its value."""
    words = line.split()
    if words and not line.startswith((b" ", b"\t")) and b":" not in words[0]:
        for label in words.pop(0).split(b","):
            if not label.isdigit():
                return f"label {quoted(label)}: must be a whole number"
    odd = next((word for word in words if not re.fullmatch(_PAIR, word)), line)
    return f"feature {quoted(odd)}: must be a feature and its value, such as 17:0.5"


def _check_ids(ids: np.ndarray, counts: np.ndarray, size: int, name: str, where: str) -> None:
    beyond = np.flatnonzero(ids >= size)
    if len(beyond):
        line = _line_of(int(beyond[0]), counts)
        raise HashfedError(
            f"{where}, line {line}: {name} {ids[beyond[0]]:.0f}: must be from 0 to {size - 1}, as the first "
            "line says"
        )


def _check_values(pairs: np.ndarray, counts: np.ndarray, counted: bool, where: str) -> None:
    values = pairs[:, 1]
    fine = np.abs(values) <= np.finfo(np.float32).max
    problem = "must be finite"
    if counted and fine.all():
        fine, problem = values >= 1, COUNTED
    if not fine.all():
        at = int(np.argmin(fine))
        raise HashfedError(
            f"{where}, line {_line_of(at, counts)}: value of feature {pairs[at, 0]:.0f} = "
            f"{values[at]:g}: {problem}"
        )


def _line_of(position: int, counts: np.ndarray) -> int:
    """The line of an entry, of examples with so many each."""
    return int(np.searchsorted(np.cumsum(counts), position, side="right")) + 2


def _keys(ids: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    """Numbers that order entries by example, then by id: int64."""
    return np.repeat(np.arange(len(counts)), counts) * size + ids.astype(np.int64)
