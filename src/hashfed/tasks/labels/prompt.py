"""Features as somebody writes them on a command line."""

import re
from collections.abc import Sequence

import numpy as np

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels.names import LabelNames
from hashfed.tasks.labels.settings import LabelFileSettings
from hashfed.tasks.labels.values import COUNTED, tf_idf
from hashfed.tasks.prompt import Prompt

_PAIR = re.compile(r"([0-9]{1,18}):([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)")
LARGEST = float(np.finfo(np.float32).max)
"""Of a value."""


def make_prompt(words: Sequence[str], names: LabelNames, settings: LabelFileSettings) -> Prompt:
    """One example of ``feature:value``, and of names of features, which count 1 each time.

    A name is looked for as it is written, then in lower case.

    Raises:
        HashfedError: where a word is neither, a feature is not in the data or there twice, or a value does
            not suit ``data.values``.

    """
    size, ids = len(names.feature_documents), _ids(names)
    values, unknown = dict[int, float](), list[str]()
    for word in " ".join(words).split():
        match = _PAIR.fullmatch(word)
        if match is not None:
            feature, value = int(match[1]), float(match[2])
            if feature >= size or not abs(value) <= LARGEST or feature in values:
                allowed = f"must be a feature from 0 to {size - 1} with a finite value"
                raise HashfedError(f"{shown(word)}: {'is there twice' if feature in values else allowed}")
            values[feature] = value
        elif names.features is None:
            raise HashfedError(
                f"{shown(word)}: must be a feature and its value, such as 17:0.5 (this run knows no names of "
                "features: data.feature_names)"
            )
        elif (named := ids.get(word, ids.get(word.lower()))) is not None:
            values[named] = values.get(named, 0.0) + 1
        else:
            unknown.append(word)
    examples = _example(values)
    if settings.counted:
        if low := [feature for feature, value in values.items() if value < 1]:
            raise HashfedError(f"{low[0]}:{values[low[0]]:g}: {COUNTED}")
        examples = tf_idf(examples, np.array(names.feature_documents), names.documents)
    return Prompt(examples, names.text, notes=_notes(unknown, len(values)))


def _ids(names: LabelNames) -> dict[str, int]:
    return {} if names.features is None else {name: id for id, name in enumerate(names.features)}


def _example(values: dict[int, float]) -> LabelSets:
    """It has no label: that is the question."""
    features = sorted(values)
    return LabelSets(
        np.array(features, np.int32),
        np.array([values[feature] for feature in features], np.float32),
        np.array([len(features)], np.int64),
        np.empty(0, np.int32),
        np.zeros(1, np.int64),
    )


def _notes(unknown: Sequence[str], known: int) -> tuple[str, ...]:
    notes = []
    if unknown:
        notes.append(f"no features of this run, and left out: {', '.join(dict.fromkeys(unknown))}")
    if not known:
        notes.append("no feature is known; these are the labels of nothing in particular")
    return tuple(notes)
