"""How texts become examples."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from hashfed.data.formats import HDF5, Format, recognise
from hashfed.data.named import NAMED
from hashfed.data.part import Part
from hashfed.data.streams import NO_COLUMNS, are_words
from hashfed.data.tokenizer import TokenizerName
from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.files import with_home
from hashfed.settings import HOME_EXPANDED
from hashfed.tasks.next_word.prepared.manifest import defaults, is_prepared
from hashfed.tasks.next_word.sentences import Kept
from hashfed.tasks.settings import TaskSettings


class TextSettings(TaskSettings):
    """Sentences of clients' texts."""

    source: Annotated[str, HOME_EXPANDED] = "chitchat"
    """chitchat; or the path of a JSON Lines file (.jsonl, .jsonl.gz), a folder of texts, or what other
    libraries have: TensorFlow Federated, FedJAX, pfl-research, LEAF, FLUTE, datasets, Parquet, CSV
    (docs/data.md); or a folder that hashfed data prepare made."""
    format: Format | None = None
    """Of the source; none: its name and content tell."""
    client_column: str | None = Field(None, min_length=1)
    """Of CSV, Parquet and datasets; none: client, client_id, user, user_id, userId or author."""
    text_column: str | None = Field(None, min_length=1)
    """Likewise, and of FedJAX; none: text, texts, tokens, snippets, sentence, content or body."""
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
    is between spaces, the default for sources that are cut into words already."""
    word_counts: Annotated[str | None, HOME_EXPANDED] = Field(None, min_length=1)
    """File with a line "word count" for each word, most frequent first, as TensorFlow Federated has it for
    Stack Overflow: the vocabulary is its beginning; none: the most frequent words of the training clients."""

    size_setting: ClassVar[str] = "vocabulary"
    longest: ClassVar[str | None] = "sentence_length"
    names_file: ClassVar[str] = "vocabulary.json"
    places: ClassVar[tuple[str, ...]] = ("source", "word_counts")
    reading: ClassVar[tuple[str, ...]] = ("format", "client_column", "text_column")
    named: ClassVar[Collection[str]] = NAMED.keys()

    @model_validator(mode="before")
    @classmethod
    def _choose_by_source(cls, tree: Any) -> Any:
        """A prepared folder has settings of its own; texts that are cut into words are not cut again."""
        source = tree.get("source") if isinstance(tree, Mapping) else None
        if not source or not isinstance(source, str | os.PathLike) or source in NAMED:
            return tree
        chosen = tree.get("tokenizer")
        try:
            path = with_home(os.fsdecode(source))
            if is_prepared(path):
                return {**defaults(path), **tree}
            if chosen is not None and not path.lower().endswith(HDF5):
                return tree
            kind = tree.get("format") or recognise(Path(path))
        except (HashfedError, OSError, ValueError):
            return tree  # what is wrong with a path says who reads it
        if chosen is None and kind in get_args(Format) and are_words(path, kind, _columns(tree)):
            return {**tree, "tokenizer": "spaces"}
        if kind == "pfl" and chosen not in (None, "spaces"):
            raise ValueError(
                f"tokenizer = {shown(chosen)}: must be spaces, for the source has words as ids, of which one "
                "is for those that are unknown"
            )
        return tree

    @property
    def columns(self) -> dict[str, str | None]:
        """Names of columns, where they are set."""
        return _columns({"client_column": self.client_column, "text_column": self.text_column})

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


def _columns(tree: Mapping[str, Any]) -> dict[str, str | None]:
    """Names of columns by what they hold; None for what is no name."""
    names = {kind: tree.get(f"{kind}_column") for kind in NO_COLUMNS}
    return {kind: name if isinstance(name, str) else None for kind, name in names.items()}
