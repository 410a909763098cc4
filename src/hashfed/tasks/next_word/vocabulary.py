"""The words that have a row, ranked by frequency, after four special symbols."""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hashfed.data.client_texts import UNKNOWN
from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.models.protocol import INPUT, OUTPUT

PAD, OOV, BOS, EOS = range(4)
SPECIAL = ("<pad>", UNKNOWN, "<bos>", "<eos>")
"""Ids 0 to 3, as in the Stack Overflow task; word i of the ranking has id 4 + i. None is ever a word, though
a source that is cut into words may have them."""


class TooFewWordsError(HashfedError):
    """The texts have fewer words than were asked for.

    Attributes:
        there: how many they have.

    """

    def __init__(self, asked: int, there: int) -> None:
        super().__init__(f"data.vocabulary = {asked}: the training clients have only {there} distinct words")
        self.there = there


@dataclass(frozen=True)
class Vocabulary:
    """V words and four special symbols: n = V + 4 rows.

    Attributes:
        words: V distinct words, most frequent first.

    """

    words: tuple[str, ...]
    ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {word: len(SPECIAL) + rank for rank, word in enumerate(self.words)}
        object.__setattr__(self, "ids", ids)

    @classmethod
    def most_frequent(cls, texts: Iterable[Sequence[str]], size: int) -> "Vocabulary":
        """The ``size`` most frequent words; equal counts in alphabetical order.

        Raises:
            TooFewWordsError: where the texts have fewer distinct words.

        """
        counts: Counter[str] = Counter()
        for words in texts:
            counts.update(words)
        return cls.ranked(counts.items(), size)

    @classmethod
    def ranked(cls, counts: Iterable[tuple[str, int]], size: int) -> "Vocabulary":
        """The same from words and how often each occurs; no more of them are held than are wanted.

        Raises:
            TooFewWordsError: where there are fewer.

        """
        there = 0

        def counted() -> Iterator[tuple[str, int]]:
            nonlocal there
            for word, count in counts:
                if word not in SPECIAL:
                    there += 1
                    yield word, count

        ranked = heapq.nsmallest(size, counted(), key=lambda item: (-item[1], item[0]))
        if size > there:
            raise TooFewWordsError(size, there)
        return cls(tuple(word for word, _ in ranked))

    def __len__(self) -> int:
        """n, the number of rows: words and special symbols."""
        return len(SPECIAL) + len(self.words)

    @property
    def sizes(self) -> dict[str, int]:
        """See ``RowNames``: what is read are words, and what is found."""
        return dict.fromkeys((OUTPUT, INPUT), len(self))

    def encode(self, words: Sequence[str]) -> list[int]:
        """Ids of words; OOV for those without a row."""
        return [self.ids.get(word, OOV) for word in words]

    def word(self, id: int) -> str:
        """The word or special symbol of an id."""
        return SPECIAL[id] if id < len(SPECIAL) else self.words[id - len(SPECIAL)]

    def to_json(self) -> str:
        """A JSON list of the words."""
        return json.dumps(self.words, ensure_ascii=False, indent=0)

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """From what ``to_json`` wrote.

        Raises:
            HashfedError: where it is no list of words, or has one of them twice.

        """
        try:
            words = json.loads(text)
        except RecursionError:
            words = None
        except ValueError as error:
            raise HashfedError(f"no readable vocabulary ({error})") from None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise HashfedError("must be a JSON list of words")
        found = cls(tuple(words))
        if len(found.ids) < len(words):
            raise HashfedError(f"has the word {shown(Counter(words).most_common(1)[0][0])} twice")
        return found
