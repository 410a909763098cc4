"""How texts become examples."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hashfed.data.part import Part
from hashfed.data.readers import NAMED
from hashfed.data.tff import is_tff
from hashfed.data.tokenizer import TokenizerName
from hashfed.errors import HashfedError
from hashfed.files import with_home
from hashfed.settings import HOME_EXPANDED
from hashfed.tasks.next_word.prepared.manifest import defaults, is_prepared
from hashfed.tasks.next_word.sentences import Kept
from hashfed.tasks.settings import TaskSettings


class TextSettings(TaskSettings):
    """Sentences of clients' texts."""

    source: Annotated[str, HOME_EXPANDED] = "chitchat"
    """chitchat; or the path of a JSON Lines file (.jsonl, .jsonl.gz), a folder of texts, a data set of
    TensorFlow Federated (.sqlite, .sqlite.lzma, .h5), or a folder that hashfed data prepare made."""
    clients: int | None = Field(None, ge=1)
    """At most this many training clients, chosen by their names and not by the seed; none: all."""
    held_out_clients: int | None = Field(None, ge=1)
    """At most this many clients to evaluate on, chosen likewise; none: as many as data.clients."""
    vocabulary: int = Field(10_000, ge=1)
    """V, number of words; the model has V + 4 rows."""
    sentence_length: int = Field(20, ge=1, le=1024)
    """Words per sentence."""
    tokens_per_client: int = Field(5000, ge=1)
    """At most this many words of one client."""
    sentences_per_client: int | None = Field(None, ge=1)
    """At most this many sentences of one client, the first ones; none: as many as there are."""
    long_texts: Literal["truncate", "split"] = "truncate"
    """Texts longer than a sentence: keep the beginning (as Stack Overflow), or cut them into sentences."""
    tokenizer: TokenizerName = "unicode"
    """What a word is (docs/data.md): of any script; or of ASCII letters only, as before this setting; or what
    is between spaces, the default for data sets of TensorFlow Federated."""
    word_counts: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """File with a line "word count" for each word, most frequent first, as TensorFlow Federated has it for
    Stack Overflow: the vocabulary is its beginning; none: the most frequent words of the training clients."""

    size_setting: ClassVar[str] = "vocabulary"
    longest: ClassVar[str | None] = "sentence_length"
    names_file: ClassVar[str] = "vocabulary.json"
    places: ClassVar[tuple[str, ...]] = ("source", "word_counts")
    named: ClassVar[Collection[str]] = NAMED.keys()

    @model_validator(mode="before")
    @classmethod
    def _choose_by_source(cls, tree: Any) -> Any:
        """A prepared folder has settings of its own; texts that are cut into words are not cut again."""
        if not isinstance(tree, Mapping):
            return tree
        source = tree.get("source")
        if not isinstance(source, str | os.PathLike):
            return tree
        with suppress(HashfedError):  # of a home that nobody has, which the source's own check says
            path = with_home(os.fsdecode(source))
            if is_prepared(path):
                return {**defaults(path), **tree}
            if "tokenizer" not in tree and is_tff(path):
                return {**tree, "tokenizer": "spaces"}
        return tree

    @property
    def splits(self) -> bool:
        """Whether longer texts are cut into several sentences, instead of their beginning being kept."""
        return self.long_texts == "split"

    def kept(self) -> Kept:
        """What is kept of one client's texts."""
        return Kept(self.tokens_per_client, self.sentences_per_client, self.sentence_length, self.splits)

    def part(self, vocabulary: bool, held_out: Literal["validation", "test"] | None) -> Part:
        """What of the source is needed, by one who makes a ``vocabulary`` from it or not.

        ``held_out``: which clients are evaluated on; None: none is chosen, and all are needed.
        """
        chosen = held_out is not None
        return Part(
            clients=self.clients if chosen else None,
            held_out_clients=self.held_out_clients or self.clients if chosen else None,
            held_out=held_out,
            vocabulary=vocabulary,
            tokens=self.tokens_per_client,
            sentences=self.sentences_per_client,
            tokenizer=self.tokenizer,
        )
